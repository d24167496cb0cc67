import type { Proposal } from "../../api/types";
import { el, ICONS, icon, showInstead } from "../../lib/dom";
import type { WorkspaceController } from "./controller";

/** What to look at next, in one line: what it is and why, a button and a key to go there, and a list of the rest. */
export class NextBar {
  readonly element: HTMLElement;
  private readonly line: HTMLElement;
  private readonly take: HTMLButtonElement;
  private readonly more: HTMLButtonElement;
  private readonly panel: HTMLElement;
  private readonly subscriptions: (() => void)[];

  constructor(private readonly controller: WorkspaceController) {
    const { suggestions, project, selection } = controller;
    this.line = el("p", { class: "next-bar__line", "aria-live": "polite", "data-testid": "next" });
    this.take = el(
      "button",
      {
        type: "button",
        class: "button button--small",
        title: "Show it in the grid (G)",
        "data-testid": "take-next",
        onclick: () => void controller.next.take(),
      },
      "Go",
      el("kbd", { class: "key" }, "G"),
    );
    this.more = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small button--icon",
        title: "Other suggestions",
        "aria-label": "Other suggestions",
        "aria-expanded": "false",
        "data-testid": "other-suggestions",
        onclick: () => this.open(this.panel.hidden),
      },
      icon(ICONS.down),
    );
    this.panel = el("div", { class: "next-bar__panel", hidden: true });
    this.element = el(
      "div",
      { class: "next-bar" },
      el("span", { class: "next-bar__name" }, "Next"),
      this.line,
      el("div", { class: "next-bar__commands" }, this.take, this.more),
      this.panel,
    );
    document.addEventListener("pointerdown", this.outside);
    document.addEventListener("keydown", this.key, { capture: true });
    this.subscriptions = [
      suggestions.on("suggestions", () => this.show()),
      project.on(["status", "objects", "state"], () => this.show()),
      selection.on("region", () => this.open(false)),
    ];
    this.show();
  }

  destroy(): void {
    document.removeEventListener("pointerdown", this.outside);
    document.removeEventListener("keydown", this.key, { capture: true });
    for (const end of this.subscriptions) end();
  }

  private show(): void {
    const { suggestions, project } = this.controller;
    const { recommended, proposals, message } = suggestions;
    this.element.hidden = project.status !== "ready" || project.nObjects === 0;
    const parts: HTMLElement[] =
      recommended === undefined ? [] : [el("strong", {}, recommended.title), el("span", {}, recommended.why)];
    // "Everything is labeled" comes first; that labels and predictions still differ is worth a look after it.
    if (message !== "")
      parts.unshift(recommended === undefined ? el("span", {}, message) : el("strong", {}, `${message}.`));
    if (suggestions.status === "failed") parts.splice(0, parts.length, el("span", {}, "Could not be asked just now"));
    if (suggestions.status === "loading")
      parts.splice(0, parts.length, el("span", {}, "Looking for what is worth labeling first …"));
    if (!project.canLabel)
      parts.splice(
        0,
        parts.length,
        el("span", {}, "You may look here, but not label: that takes a role such as rater"),
      );
    showInstead(this.line, ...parts);
    this.line.classList.toggle("next-bar__line--old", suggestions.isOld && recommended !== undefined);
    this.line.title = parts.map((part) => part.textContent).join(": ");
    this.take.hidden = recommended === undefined || !project.canLabel;
    this.more.hidden = proposals.length < 2 || !project.canLabel;
    if (this.more.hidden) this.open(false);
    // What a hand is on its way to does not change under it.
    if (!this.panel.matches(":hover, :focus-within"))
      this.panel.replaceChildren(...proposals.map((proposal) => this.item(proposal)));
  }

  private item(proposal: Proposal): HTMLElement {
    const labelClass =
      proposal.class_value === null ? undefined : this.controller.project.classOf(proposal.class_value);
    return el(
      "button",
      {
        type: "button",
        class: "menu__item next-bar__item",
        "data-kind": proposal.kind,
        onclick: () => {
          this.open(false);
          void this.controller.next.take(proposal);
        },
      },
      el("span", {
        class: labelClass === undefined ? "next-bar__dot" : "class-chip__swatch",
        style: labelClass === undefined ? {} : { "--swatch": labelClass.color },
      }),
      el("span", { class: "next-bar__text" }, el("span", {}, proposal.title), el("span", {}, proposal.why)),
    );
  }

  private open(open: boolean): void {
    this.panel.hidden = !open;
    this.more.setAttribute("aria-expanded", String(open));
  }

  private readonly outside = (event: PointerEvent): void => {
    if (event.target instanceof Node && !this.element.contains(event.target)) this.open(false);
  };

  private readonly key = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || this.panel.hidden) return;
    // Opened by pointer, it does not keep the keyboard: Enter is for the patches again.
    if (this.element.contains(document.activeElement)) this.more.focus();
    this.open(false);
    event.stopPropagation();
    event.preventDefault();
  };
}
