import { createDialog } from "../../lib/dialog";
import { el } from "../../lib/dom";
import { HELP } from "../../lib/keymap";
import type { WorkspaceController } from "./controller";

/** All keys, from the table that also works them. */
export class HelpDialog {
  readonly element: HTMLDialogElement;

  constructor(controller: WorkspaceController) {
    const everywhere = el("input", {
      type: "checkbox",
      checked: controller.preferences.keysEverywhere,
      onchange: () => controller.savePreferences({ keysEverywhere: everywhere.checked }),
    });
    this.element = createDialog(
      { name: "help", title: "Keys and gestures", wide: true },
      el(
        "div",
        { class: "dialog__body help" },
        ...HELP.map((section) =>
          el(
            "section",
            { class: "help__section" },
            el("h3", {}, section.title),
            el(
              "dl",
              { class: "help__keys" },
              ...section.rows.flatMap(([keys, text]) => [
                el("dt", {}, ...keys.split(", ").map((key) => el("kbd", { class: "key" }, key))),
                el("dd", {}, text),
              ]),
            ),
          ),
        ),
        el(
          "section",
          { class: "help__section" },
          el("h3", {}, "Where keys work"),
          el("label", { class: "checkbox" }, everywhere, " Single keys work all over the page"),
          el(
            "p",
            { class: "muted" },
            "Without this, only where the patches or the map have the focus: for who speaks instead of typing.",
          ),
        ),
        el(
          "section",
          { class: "help__section" },
          el("h3", {}, "After labeling"),
          el(
            "p",
            { class: "muted" },
            "The patches just labeled stay selected: after a wrong key, press the right one, or 0 for none. ",
            "The next click, rectangle, lasso or arrow key selects anew. On a page to confirm, where patches were taken out, ",
            "another class's key is for those.",
          ),
        ),
        el(
          "section",
          { class: "help__section" },
          el("h3", {}, "Frames"),
          el(
            "p",
            { class: "muted" },
            "The outer frame of a patch has the color of its prediction, the inner one that of its label. ",
            "A thin black line inside means no label, a thin gray one outside no prediction. ",
            "The tag below left carries the key of the label, the one below right the key of a prediction that differs. ",
            "A selected patch stands on blue and has a check mark. ",
            "≈, or a hollow corner, marks a label that was accepted by sample: nobody saw the patch.",
          ),
        ),
        el(
          "section",
          { class: "help__section" },
          el("h3", {}, "Accept by sample"),
          el(
            "p",
            { class: "muted" },
            "Where a manager allows it: select, press By sample, choose the class. The server draws patches from the unlabeled ",
            "ones at random; look at every one, and click what is wrong or label it otherwise. If nothing is wrong, all may be ",
            "accepted at once, and one undo takes that back. Wrong ones ask for more patches; if those are right, the ",
            "others may be accepted. Where too many are wrong, split the selection or review by exception. Who tries the same ",
            "objects again gets more patches to look at. You can leave a sample by Esc and come back: its marks stay.",
          ),
        ),
      ),
    );
  }

  toggle(): void {
    if (this.element.open) this.element.close();
    else this.element.showModal();
  }
}
