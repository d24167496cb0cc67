import { patchUrl } from "../../../api/objects";
import { el } from "../../../lib/dom";
import { count, plural } from "../../../lib/format";
import type { SimilarQuery } from "../../../state/selection";
import { titleOf } from "../../../state/suggestions";
import type { WorkspaceController } from "../controller";

const QUERY_SHOWN = 3;
const QUERY_PX = 28;

/** Says what the region is and what to do with it, where it is not simply a lasso or everything. */
export class RegionBanner {
  readonly element = el("div", { class: "grid__banner", hidden: true, "data-testid": "region-banner" });
  private readonly confirms = el("span", {
    class: "num",
    "data-testid": "confirms",
    title: "Those that are selected, were on the screen and have no label",
  });
  private readonly hint = el("span");
  private readonly done = el("span", { class: "grid__done num" });
  private readonly otherwise = this.command("", "Labels or a new map changed what the model says of them", () =>
    this.controller.selection.keepPicked((ordinal) => !this.looksOtherwise(ordinal)),
  );
  private readonly subscriptions: (() => void)[];
  private frame = 0;

  constructor(private readonly controller: WorkspaceController) {
    this.otherwise.classList.add("grid__otherwise");
    const { selection, labels, project } = controller;
    this.subscriptions = [
      selection.on("region", () => this.show()),
      selection.on(["picks", "cursor"], () => this.countSoon()),
      controller.seen.on("seen", () => this.countSoon()),
      labels.on("labels", () => this.countSoon()),
      project.on("predictions", () => this.countSoon()),
    ];
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    for (const end of this.subscriptions) end();
  }

  /** At most once a frame: a review may be of a million, and a drag goes by a hundred moves. */
  private countSoon(): void {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.showProgress();
    });
  }

  private show(): void {
    const { selection } = this.controller;
    const isOfImage = selection.imageName !== null;
    this.element.hidden = ["lasso", "all", "sample"].includes(selection.source) && !isOfImage;
    if (this.element.hidden) return;
    this.showProgress();
    this.element.replaceChildren(
      ...(selection.query === null ? [] : this.querySigns(selection.query)),
      this.text(),
      el(
        "div",
        { class: "grid__beside" },
        ...(this.isPage ? [this.otherwise, this.done] : []),
        ...(selection.query === null ? [] : this.queryCommands(selection.query)),
        this.command("Show all", "Show all objects again (Esc)", () => this.controller.region.showAll()),
      ),
    );
  }

  private get isPage(): boolean {
    const { proposal, source } = this.controller.selection;
    return proposal !== null || source === "review";
  }

  /** How far the page is. */
  private showProgress(): void {
    const { selection, labels } = this.controller;
    if (!this.isPage) return;
    let n = 0;
    let nLeftOut = 0;
    for (const ordinal of selection.order)
      if (labels.shown[ordinal] !== 0) n++;
      else if (!selection.isPicked(ordinal)) nLeftOut++;
    // What is looked at again has labels from the start: they say nothing about how far one is.
    const isOfLabeled = selection.proposal?.kind === "discordant";
    const isDone = n === selection.size && !isOfLabeled;
    const goesOn = isDone || selection.held ? [key("G"), " goes on"] : [];
    const isConfirmed = selection.held && selection.reviewClass !== null;
    // Its place is kept: the patches must not move.
    this.hint.style.visibility = isDone || isConfirmed ? "hidden" : "visible";
    // Whoever has cleared the selection has left nothing out of the page.
    const isLeftOut = selection.reviewClass !== null && selection.isOffered && nLeftOut > 0;
    const leftOut = isLeftOut ? `, ${count(nLeftOut)} left out` : "";
    const done = isDone ? `All ${count(n)} labeled` : `${count(n)} of ${count(selection.size)} labeled${leftOut}`;
    const place = selection.cursor >= 0 ? `${count(selection.cursor + 1)} of ${count(selection.size)}` : "";
    this.done.replaceChildren(isOfLabeled ? place : done, goesOn.length > 0 ? ", " : "", ...goesOn);
    // Only what was on the screen is confirmed, which is not always the whole page.
    const { nToConfirm } = this.controller.labeling;
    this.confirms.textContent = nToConfirm === 0 ? " confirms." : ` confirms the ${count(nToConfirm)} seen.`;
    this.showOtherwise();
  }

  /** Predictions go on while one looks: what is no longer called what the page is for can be left out at once. */
  private showOtherwise(): void {
    const { selection } = this.controller;
    let n = 0;
    if (this.isPage && !selection.held) {
      for (const ordinal of selection.order) if (selection.isPicked(ordinal) && this.looksOtherwise(ordinal)) n++;
    }
    // Its place is kept: what comes later must not move the patches.
    this.otherwise.hidden = !this.isPage || selection.reviewClass === null;
    this.otherwise.style.visibility = n === 0 ? "hidden" : "visible";
    this.otherwise.textContent = `Leave out ${count(n)} that look otherwise`;
  }

  private looksOtherwise(ordinal: number): boolean {
    const { selection, project, labels } = this.controller;
    const predicted = project.predictions[ordinal] ?? 0;
    const { reviewClass } = selection;
    return reviewClass !== null && predicted !== 0 && predicted !== reviewClass && labels.shown[ordinal] === 0;
  }

  private text(): HTMLElement {
    const { selection, project } = this.controller;
    const { reviewClass, proposal, query } = selection;
    const labelClass = reviewClass === null ? undefined : project.classOf(reviewClass);
    if (reviewClass !== null) {
      this.hint.replaceChildren(
        ...(project.canLabel ? [" Click or drag out what is wrong, ", key("Enter"), this.confirms] : []),
      );
      return el(
        "p",
        { title: "A click or a rectangle leaves patches out; their own class's key labels them" },
        el("strong", {}, `${labelClass?.name ?? reviewClass}?`),
        this.hint,
      );
    }
    if (proposal !== null) {
      if (proposal.class_value !== null) {
        // It looks like one class and often is not; most of it may be of one all the same.
        this.hint.replaceChildren(
          ": a class key labels one; ",
          key("A"),
          " and a key label all that is seen, then pick the others.",
        );
      } else {
        const text = proposal.kind === "discordant" ? "keeps or corrects a label" : "labels one and goes to the next";
        this.hint.replaceChildren(`: a class key ${text}, `, key("←"), key("→"), " move.");
      }
      return el("p", {}, el("strong", {}, titleOf(proposal, selection.size)), this.hint);
    }
    if (query !== null) {
      const to = "ordinals" in query.to ? aboutObjects(query.to.ordinals) : query.to.name;
      return el(
        "p",
        {},
        el("strong", {}, `${plural(selection.size, "object")} like ${to}`),
        this.amongClass(),
        ", the most similar first.",
      );
    }
    if (selection.source === "unplaced") {
      return el("p", {}, el("strong", {}, "Not on the map yet"), ": added after the newest map was made.");
    }
    if (selection.source === "undone") {
      return el("p", {}, el("strong", {}, plural(selection.size, "object")), " that an undo or redo changed.");
    }
    if (selection.imageName !== null) {
      const lasso = selection.source === "lasso" ? ", in the lasso" : "";
      return el("p", {}, el("strong", {}, plural(selection.size, "object")), ` of ${selection.imageName}${lasso}.`);
    }
    return el("p", {}, el("strong", {}, plural(selection.size, "object")), " chosen by a script.");
  }

  /** A search keeps to the one class that the map is filtered by, which its answer must not hide. */
  private amongClass(): string {
    const { project, similar } = this.controller;
    const only = similar.onlyClass;
    return only === null ? "" : ` among ${project.classOf(only)?.name ?? only}, which alone is shown`;
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
      this.controller.similar.again({ unlabeled: !query.unlabeled }),
    );
    unlabeled.setAttribute("aria-pressed", String(query.unlabeled));
    unlabeled.dataset["testid"] = "similar-unlabeled";
    // The filter of the map hides the labeled ones anyway.
    unlabeled.disabled = query.unlabeled && this.controller.filters.mode === "unlabeled";
    if (!this.controller.similar.hasMore) return [unlabeled];
    return [
      unlabeled,
      this.command("More", "Search for three times as many", () => this.controller.similar.again({ k: 3 * query.k })),
    ];
  }

  private command(text: string, title: string, run: () => void): HTMLButtonElement {
    return el("button", { type: "button", class: "button button--quiet button--small", title, onclick: run }, text);
  }
}

const key = (name: string): HTMLElement => el("kbd", { class: "key" }, name);

const aboutObjects = (ordinals: Uint32Array): string =>
  ordinals.length === 1 ? `object ${ordinals[0]}` : `the mean of ${count(ordinals.length)}`;
