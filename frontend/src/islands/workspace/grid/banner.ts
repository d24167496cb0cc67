import { patchUrl } from "../../../api/objects";
import { el } from "../../../lib/dom";
import { count, plural } from "../../../lib/format";
import type { SimilarQuery } from "../../../state/selection";
import type { WorkspaceController } from "../controller";

const QUERY_SHOWN = 3;
const QUERY_PX = 28;

/** Says what the region is and what to do with it, where it is not simply a lasso or everything. */
export class RegionBanner {
  readonly element = el("div", { class: "grid__banner", hidden: true, "data-testid": "region-banner" });
  private readonly done = el("span", { class: "grid__done num" });
  private readonly subscriptions: (() => void)[];

  constructor(private readonly controller: WorkspaceController) {
    const { selection, labels } = controller;
    this.subscriptions = [selection.on("region", () => this.show()), labels.on("labels", () => this.showDone())];
  }

  destroy(): void {
    for (const end of this.subscriptions) end();
  }

  private show(): void {
    const { selection } = this.controller;
    this.element.hidden = ["lasso", "all", "sample"].includes(selection.source);
    if (this.element.hidden) return;
    this.showDone();
    this.element.replaceChildren(
      ...(selection.query === null ? [] : this.querySigns(selection.query)),
      this.text(),
      ...(selection.proposal === null ? [] : [this.done]),
      ...(selection.query === null ? [] : this.queryCommands(selection.query)),
      this.command("Show all", "Show all objects again (Esc)", () => this.controller.showAll()),
    );
  }

  /** How far the page is. */
  private showDone(): void {
    const { selection, labels } = this.controller;
    if (selection.proposal === null) return;
    let n = 0;
    for (const ordinal of selection.order) if (labels.shown[ordinal] !== 0) n++;
    this.done.textContent = `${count(n)} of ${count(selection.size)} labeled`;
  }

  private text(): HTMLElement {
    const { selection, project } = this.controller;
    const { reviewClass, proposal, query } = selection;
    const labelClass = reviewClass === null ? undefined : project.classOf(reviewClass);
    if (proposal !== null && reviewClass !== null) {
      return el(
        "p",
        {},
        el("strong", {}, `${labelClass?.name ?? reviewClass}?`),
        " Click the wrong ones, ",
        key("Enter"),
        " confirms the rest that you have seen.",
      );
    }
    if (proposal !== null) {
      const text =
        proposal.kind === "discordant" ? " keeps or corrects a label, " : " labels one and goes to the next, ";
      return el("p", {}, el("strong", {}, proposal.title), ": a class key", text, key("←"), key("→"), " move.");
    }
    if (selection.source === "review" && reviewClass !== null) {
      return el(
        "p",
        {},
        el("strong", {}, `Review ${labelClass?.name ?? reviewClass}`),
        ", surest first: ",
        key("A"),
        " selects all, a click leaves a wrong one out, ",
        key(labelClass?.key || "Enter"),
        " confirms the rest.",
      );
    }
    if (query !== null) {
      const to = "ordinals" in query.to ? aboutObjects(query.to.ordinals) : query.to.name;
      return el(
        "p",
        {},
        el("strong", {}, `${plural(selection.size, "object")} like ${to}`),
        ", the most similar first.",
      );
    }
    if (selection.source === "unplaced") {
      return el("p", {}, el("strong", {}, "Not on the map yet"), ": added after the newest map was made.");
    }
    return el("p", {}, el("strong", {}, `${count(selection.size)} objects`), " chosen by a script.");
  }

  /** The patches that were searched with. */
  private querySigns(query: SimilarQuery): HTMLElement[] {
    if (!("ordinals" in query.to)) return [];
    const { api, projectId } = this.controller.config;
    return [...query.to.ordinals.subarray(0, QUERY_SHOWN)].map((ordinal) =>
      el("img", {
        class: "grid__query",
        src: patchUrl(api, projectId, ordinal, "patch", 2 * QUERY_PX, false),
        width: QUERY_PX,
        height: QUERY_PX,
        alt: `Object ${ordinal}`,
        title: `Object ${ordinal}`,
      }),
    );
  }

  private queryCommands(query: SimilarQuery): HTMLElement[] {
    const unlabeled = this.command("Unlabeled only", "Search only among objects without a label", () =>
      this.controller.searchAgain({ unlabeled: !query.unlabeled }),
    );
    unlabeled.setAttribute("aria-pressed", String(query.unlabeled));
    unlabeled.dataset["testid"] = "similar-unlabeled";
    // The filter of the map hides the labeled ones anyway.
    unlabeled.disabled = query.unlabeled && this.controller.filters.mode === "unlabeled";
    if (!this.controller.hasMoreSimilar) return [unlabeled];
    return [
      unlabeled,
      this.command("More", "Search for three times as many", () => this.controller.searchAgain({ k: 3 * query.k })),
    ];
  }

  private command(text: string, title: string, run: () => void): HTMLButtonElement {
    return el("button", { type: "button", class: "button button--quiet button--small", title, onclick: run }, text);
  }
}

const key = (name: string): HTMLElement => el("kbd", { class: "key" }, name);

const aboutObjects = (ordinals: Uint32Array): string =>
  ordinals.length === 1 ? `object ${ordinals[0]}` : `the mean of ${count(ordinals.length)}`;
