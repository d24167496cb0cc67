import { el, ICONS, icon } from "../../lib/dom";
import type { WorkspaceController } from "./controller";

const LIST_ID = "class-picker-list";

/** The button that labels by a list: for more than nine classes, and for who does not know the keys. */
export class ClassPicker {
  readonly element: HTMLElement;
  private readonly button: HTMLButtonElement;
  private readonly panel: HTMLElement;
  private readonly search: HTMLInputElement;
  private readonly list: HTMLElement;
  private chosen = 0;
  /** Who tabs through the controls goes on from the button; for everybody else keys belong to the patches again. */
  private isTabbedThrough = false;

  constructor(private readonly controller: WorkspaceController) {
    this.button = el(
      "button",
      {
        type: "button",
        class: "button button--primary button--small",
        "aria-haspopup": "listbox",
        "aria-expanded": "false",
        title: "Label the selection (1 to 9, or Enter for the list)",
        "data-testid": "apply-label",
        "data-class-picker": true,
        // A click by a key has no place.
        onclick: (event: MouseEvent) => (this.panel.hidden ? this.open(event.detail === 0) : this.close()),
      },
      "Label",
      icon(ICONS.down),
    );
    this.search = el("input", {
      type: "search",
      class: "input input--small",
      placeholder: "Type a class",
      "aria-label": "Class",
      role: "combobox",
      "aria-expanded": "true",
      "aria-controls": LIST_ID,
      "aria-autocomplete": "list",
      autocomplete: "off",
      oninput: () => {
        this.chosen = 0;
        this.fill();
      },
      onkeydown: (event: KeyboardEvent) => this.key(event),
    });
    this.list = el("div", { class: "class-picker__list", role: "listbox", id: LIST_ID, "aria-label": "Classes" });
    this.panel = el("div", { class: "class-picker__panel", hidden: true }, this.search, this.list);
    this.element = el(
      "div",
      { class: "class-picker", onfocusout: (event: FocusEvent) => this.left(event) },
      this.button,
      this.panel,
    );
    document.addEventListener("pointerdown", this.outside);
    document.addEventListener("choose-class", this.asked);
  }

  destroy(): void {
    document.removeEventListener("pointerdown", this.outside);
    document.removeEventListener("choose-class", this.asked);
  }

  setEnabled(enabled: boolean): void {
    this.button.disabled = !enabled;
    if (!enabled) this.close();
  }

  private readonly asked = (): void => {
    if (this.button.disabled) this.controller.labeling.sayWhyNotToLabel();
    else this.open(false);
  };

  private readonly outside = (event: PointerEvent): void => {
    if (event.target instanceof Node && !this.element.contains(event.target)) this.close();
  };

  private left(event: FocusEvent): void {
    if (event.relatedTarget instanceof Node && !this.element.contains(event.relatedTarget)) this.close();
  }

  private open(isTabbedThrough: boolean): void {
    this.isTabbedThrough = isTabbedThrough;
    this.search.value = "";
    this.chosen = 0;
    this.fill();
    this.panel.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.search.focus();
  }

  private close(): void {
    if (this.panel.hidden) return;
    this.panel.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    const { activeElement } = document;
    if (!(activeElement instanceof HTMLElement) || !this.element.contains(activeElement)) return;
    if (this.isTabbedThrough) this.button.focus();
    else activeElement.blur();
  }

  private get matches() {
    const typed = this.search.value.trim().toLowerCase();
    return this.controller.project.classes.filter((c) => c.name.toLowerCase().includes(typed) || c.key === typed);
  }

  private fill(): void {
    const { matches } = this;
    this.list.replaceChildren(
      ...matches.map((labelClass, index) =>
        el(
          "button",
          {
            type: "button",
            class: "menu__item",
            role: "option",
            id: `${LIST_ID}-${labelClass.value}`,
            tabindex: "-1", // the arrow keys go from one to the next
            "aria-selected": String(index === this.chosen),
            "data-value": String(labelClass.value),
            onclick: () => this.apply(labelClass.value),
          },
          el("span", { class: "class-chip__swatch", style: { "--swatch": labelClass.color } }),
          el("span", { class: "class-picker__name" }, labelClass.name),
          labelClass.key !== "" && el("kbd", { class: "key" }, labelClass.key),
        ),
      ),
    );
    if (matches.length === 0) this.list.append(el("p", { class: "class-picker__none" }, "No such class"));
    const chosen = this.list.querySelector("[aria-selected=true]");
    chosen?.scrollIntoView({ block: "nearest" });
    this.search.setAttribute("aria-activedescendant", chosen?.id ?? "");
  }

  private key(event: KeyboardEvent): void {
    const { matches } = this;
    if (event.key === "Escape") this.close();
    else if (event.key === "ArrowDown") this.chosen = Math.min(matches.length - 1, this.chosen + 1);
    else if (event.key === "ArrowUp") this.chosen = Math.max(0, this.chosen - 1);
    else if (event.key === "Enter" && matches[this.chosen] !== undefined) this.apply(matches[this.chosen]!.value);
    else return;
    event.preventDefault();
    event.stopPropagation();
    this.fill();
  }

  private apply(value: number): void {
    this.isTabbedThrough = false; // the next Enter confirms a page; on the button it would open this list
    this.close();
    this.controller.labeling.label(value);
  }
}
