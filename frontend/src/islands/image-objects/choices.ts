import { el } from "../../lib/dom";

/** Buttons of which one is pressed, or none. */
export class Choices<T> {
  readonly element: HTMLElement;
  private readonly buttons: readonly (readonly [T, HTMLElement])[];

  constructor(
    name: string,
    choices: readonly (readonly [T, string, string?])[],
    first: T,
    choose: (chosen: T) => void,
  ) {
    this.buttons = choices.map(([value, text, title]) => {
      const onclick = () => {
        this.press(value);
        choose(value);
      };
      return [value, el("button", { type: "button", class: "button button--small", title, onclick }, text)];
    });
    const buttons = this.buttons.map(([, button]) => button);
    this.element = el("div", { class: "button-group", role: "group", "aria-label": name }, ...buttons);
    this.press(first);
  }

  press(chosen: T): void {
    for (const [value, button] of this.buttons) button.setAttribute("aria-pressed", String(value === chosen));
  }
}
