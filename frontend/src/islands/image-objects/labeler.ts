import { HttpError, messageOf, newClientKey } from "../../api/http";
import { postAction, postUndo } from "../../api/labels";
import type { ActionResult, LabelClass } from "../../api/types";
import { el } from "../../lib/dom";
import { belongsToControl, belongsToField, commandFor } from "../../lib/keymap";
import { ActionQueue } from "../../state/action-queue";
import { Activity, watchActivity } from "../../state/activity";

export interface LabeledImage {
  readonly api: string;
  readonly labelSet: number;
  readonly name: string;
  readonly firstOrdinal: number;
  readonly classes: readonly LabelClass[];
  /** The place in the image's objects of the one under the pointer. */
  pointed(): number | null;
  labelOf(place: number): number;
  /** The screen follows at once, before the server has answered. */
  show(place: number, classValue: number): void;
  say(text: string): void;
  /** What went wrong stays until the next gesture; "": nothing. */
  complain(text: string): void;
  /** What is on the screen may not be so: ask again. */
  askAgain(): void;
}

/** Labels the object under the pointer: its class's key, 0 for none, Z to take that back, or a menu by the right button. Nothing is lost
 * where the server does not answer: see `ActionQueue`. */
export class ObjectLabeler {
  private readonly menu = el("div", { class: "object-menu menu__panel", role: "menu", hidden: true });
  private readonly activity = new Activity();
  private readonly queue = new ActionQueue();
  /** A click that only closes the menu is for nothing else. */
  private closedByPress = false;
  /** Whose menu it is, while it is open: the pointer may have left the object. */
  private offered: number | null = null;
  /** What Z takes back, the last first: gestures that were made here, and no older ones. */
  private readonly made: ActionResult["action_id"][] = [];

  constructor(
    private readonly image: LabeledImage,
    signal: AbortSignal,
  ) {
    document.body.append(this.menu);
    signal.addEventListener("abort", () => this.menu.remove());
    watchActivity(this.activity, signal);
    document.addEventListener("keydown", (event) => this.key(event), { signal });
    document.addEventListener(
      "pointerdown",
      (event) => {
        const isOutside = event.target instanceof Node && !this.menu.contains(event.target);
        this.closedByPress = isOutside && !this.menu.hidden;
        if (isOutside) this.close();
      },
      { signal, capture: true },
    );
    document.addEventListener(
      "click",
      (event) => {
        if (this.closedByPress) event.stopPropagation();
        this.closedByPress = false;
      },
      { signal, capture: true },
    );
    window.addEventListener(
      "scroll",
      (event) => {
        if (!(event.target instanceof Node && this.menu.contains(event.target))) this.close();
      },
      { signal, capture: true, passive: true },
    );
    window.addEventListener("beforeunload", (event) => this.queue.length > 0 && event.preventDefault(), { signal });
    this.queue.on("status", () => {
      if (this.queue.failing) image.complain(`Not saved yet (${this.queue.length}): ${this.queue.lastError}`);
    });
  }

  /** The menu of an object, where the right button was pressed on one. */
  offer(event: MouseEvent): void {
    const place = this.image.pointed();
    if (place === null) return;
    event.preventDefault();
    const current = this.image.labelOf(place);
    this.menu.replaceChildren(
      ...this.image.classes.map((labelClass) => this.item(place, labelClass.value, labelClass, current)),
      ...(current === 0 ? [] : [el("hr", { class: "menu__separator" }), this.item(place, 0, null, current)]),
    );
    this.offered = place;
    this.menu.hidden = false;
    // Beside the pointer, and all of it in the window.
    const { width, height } = this.menu.getBoundingClientRect();
    this.menu.style.left = `${Math.max(0, Math.min(event.clientX, window.innerWidth - width - 8))}px`;
    this.menu.style.top = `${Math.max(0, Math.min(event.clientY, window.innerHeight - height - 8))}px`;
    this.menu.querySelector("button")?.focus();
  }

  private item(place: number, value: number, labelClass: LabelClass | null, current: number): HTMLElement {
    const key = labelClass === null ? "0" : labelClass.key;
    return el(
      "button",
      {
        type: "button",
        class: "menu__item",
        role: "menuitemradio",
        "aria-checked": String(value === current),
        onclick: () => {
          this.close();
          this.label(place, value);
        },
      },
      labelClass !== null && el("span", { class: "class-chip__swatch", style: { "--swatch": labelClass.color } }),
      el("span", { class: "class-picker__name" }, labelClass?.name ?? "Remove label"),
      key !== "" && el("kbd", { class: "key" }, key),
    );
  }

  private close(): void {
    this.menu.hidden = true;
    this.offered = null;
  }

  private key(event: KeyboardEvent): void {
    if (event.repeat || event.defaultPrevented || belongsToField(event.target)) return;
    if (!this.menu.hidden && this.keyOfMenu(event)) {
      event.preventDefault();
      return;
    }
    if (belongsToControl(event.target, event.key)) return;
    const command = commandFor(event);
    const place = this.offered ?? this.image.pointed();
    if (command?.name === "undo") this.undo();
    else if (place === null) return;
    else if (command?.name === "remove") this.label(place, 0);
    else if (command?.name === "label") {
      const labelClass = this.image.classes.find(({ key }) => key === command.digit);
      if (labelClass === undefined) return;
      this.label(place, labelClass.value);
    } else return;
    event.preventDefault();
    this.close();
  }

  private keyOfMenu(event: KeyboardEvent): boolean {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") this.close();
    else if (step === undefined) return false;
    else {
      const items = [...this.menu.querySelectorAll("button")];
      const at = items.indexOf(document.activeElement as HTMLButtonElement);
      items[(at + step + items.length) % items.length]?.focus();
    }
    return true;
  }

  private label(place: number, value: number): void {
    const { image } = this;
    const action = {
      kind: value === 0 ? ("remove" as const) : ("label" as const),
      class_value: value === 0 ? null : value,
      provenance: "single" as const,
      only_unlabeled: false,
      selection: { source: "image" as const, image: image.name, on_screen: { n: 1 } },
      client_key: newClientKey(),
      worked_s: this.activity.take(),
    };
    const ordinals = Uint32Array.of(image.firstOrdinal + place);
    image.show(place, value);
    const name = value === 0 ? "" : (image.classes.find((one) => one.value === value)?.name ?? String(value));
    this.queue.add<ActionResult>({
      clientKey: action.client_key,
      send: () => postAction(image.api, image.labelSet, action, ordinals),
      onSaved: ({ action_id, n_changed }) => {
        if (n_changed > 0) this.made.push(action_id);
        const done = value === 0 ? "Label removed." : `Labeled ${name}.`;
        this.done(n_changed > 0 ? `${done} Z takes that back.` : "It was so before.");
      },
      onRefused: (error) => this.refused(error),
    });
  }

  private undo(): void {
    const { image, queue, made } = this;
    if (made.length === 0 && queue.length === 0) {
      image.say("Nothing was labeled here that Z could take back.");
      return;
    }
    const clientKey = newClientKey();
    const workedS = this.activity.take();
    queue.add<ActionResult>({
      clientKey,
      send: () => {
        const last = made.at(-1);
        if (last === undefined) return Promise.reject(new HttpError(409, "nothing is left to take back"));
        return postUndo(image.api, image.labelSet, clientKey, last, workedS);
      },
      onSaved: () => {
        made.pop();
        this.done("Taken back.");
      },
      onRefused: (error) => {
        // Another window of this person has gone on: what was made here is not the last any more.
        const isOld = error instanceof HttpError && error.status === 409;
        if (isOld) made.length = 0;
        this.refused(isOld ? new Error("another window of yours has gone on since; undo it there") : error);
      },
    });
  }

  private done(text: string): void {
    this.image.complain("");
    this.image.say(text);
    this.image.askAgain();
  }

  private refused(error: unknown): void {
    this.image.complain(`Not done: ${messageOf(error)}`);
    this.image.askAgain();
  }
}
