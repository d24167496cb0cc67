import { createDialog } from "../../lib/dialog";
import { el } from "../../lib/dom";
import { count, plural, share } from "../../lib/format";
import type { WorkspaceController } from "./controller";

/** What the dialog is closed with when the sample is wanted. */
const DRAWN = "drawn";

/** Asks for which class a selection is to be accepted, and says what that will take and mean. */
export class SampleDialog {
  readonly element: HTMLDialogElement;
  private readonly classes: HTMLSelectElement;
  private readonly text: HTMLElement;
  private readonly confirm: HTMLButtonElement;
  private ordinals: Uint32Array = new Uint32Array(0);

  constructor(private readonly controller: WorkspaceController) {
    this.classes = el("select", {
      class: "input select",
      id: "sample-class",
      "data-testid": "sample-class",
      onchange: () => this.describe(),
    });
    this.text = el("div", { class: "sample-dialog__text" });
    this.confirm = el(
      "button",
      { type: "button", class: "button button--primary", "data-testid": "sample-draw", onclick: () => this.draw() },
      "Draw the sample",
    );
    const close = () => this.element.close();
    this.element = createDialog(
      { name: "sample", title: "Accept by sample" },
      el(
        "div",
        { class: "dialog__body" },
        el(
          "div",
          { class: "form-field" },
          el("label", { class: "form-field__label", for: "sample-class" }, "Accept the selection as"),
          this.classes,
        ),
        this.text,
      ),
      el(
        "footer",
        { class: "dialog__footer" },
        el("button", { type: "button", class: "button", onclick: close }, "Cancel"),
        this.confirm,
      ),
    );
    this.element.addEventListener("close", () => {
      if (this.element.returnValue !== DRAWN) this.controller.next.declineSample();
    });
    document.addEventListener("accept-by-sample", this.open);
  }

  destroy(): void {
    document.removeEventListener("accept-by-sample", this.open);
  }

  private readonly open = (): void => {
    const { project, sampling } = this.controller;
    if (!sampling.isAllowed || this.element.open) return;
    this.element.returnValue = "";
    this.ordinals = sampling.candidates();
    const likely = sampling.likelyClass(this.ordinals);
    this.classes.replaceChildren(
      el("option", { value: "" }, "Choose a class"),
      ...project.classes.map((c) => el("option", { value: String(c.value), selected: c.value === likely }, c.name)),
    );
    this.describe();
    this.element.showModal();
    if (!this.confirm.disabled) this.confirm.focus();
  };

  private describe(): void {
    const { project } = this.controller;
    const n = this.ordinals.length;
    const { max_error: error } = project.sampled;
    const name = project.classOf(Number(this.classes.value))?.name;
    this.confirm.disabled = n === 0 || name === undefined;
    if (n === 0) {
      this.text.replaceChildren(el("p", {}, "Nothing in the selection is unlabeled."));
      return;
    }
    const all = n === 1 ? "it" : `all ${count(n)}`;
    const value = Number(this.classes.value);
    const others = this.ordinals.filter((ordinal) => ![0, value].includes(project.predictions[ordinal] ?? 0)).length;
    this.text.replaceChildren(
      ...(project.isTraining
        ? [
            el(
              "p",
              { class: "alert alert--warning", "data-testid": "sample-training" },
              "A training is under way. Its map brings other predictions, and a sample drawn before it is then no longer good: wait for it, or cancel it.",
            ),
          ]
        : []),
      ...(name !== undefined && others > 0
        ? [
            el(
              "p",
              { class: "alert alert--warning", "data-testid": "sample-others" },
              `${others === n ? "All" : count(others)} of them ${others === 1 ? "is" : "are"} predicted as another class. Where the prediction is right, ${others === 1 ? "that one does" : "those do"} not belong here.`,
            ),
          ]
        : []),
      el(
        "p",
        {},
        "You look at a random sample of these ",
        el("strong", { class: "num" }, plural(n, "unlabeled object")),
        `: ${this.size(n)}.`,
      ),
      el(
        "p",
        {},
        `If none of them is wrong, you may label ${all} ${name ?? "with the class"}: then, with 95% confidence, fewer than ${share(error)} of the labels are wrong. `,
        "Each wrong one asks for more patches, up to half of the selection in all; if those are right, you may label the others. ",
        `What was found not to be ${name ?? "of the class"} before is left out.`,
      ),
      el(
        "p",
        { class: "muted" },
        "Labels whose patch nobody saw are marked ≈. They can be hidden and left out of exports, and the model does not learn from them.",
      ),
    );
  }

  /** The server knows what was tried before. */
  private size(n: number): string {
    const { proposal } = this.controller.selection;
    const most = this.controller.project.sampled.longest_first_look;
    const isAsProposed = proposal?.n_sample != null && proposal.class_value === Number(this.classes.value);
    if (isAsProposed && n === proposal.n) return plural(proposal.n_sample!, "patch", "patches");
    if (most >= n) return "more than half of them, as a sample of so few bounds little";
    return `${plural(most, "patch", "patches")} at most, or more where much the same objects were tried before`;
  }

  private draw(): void {
    this.element.close(DRAWN);
    this.controller.region.lookAnew();
    void this.controller.sampling.draw(this.ordinals, Number(this.classes.value));
  }
}
