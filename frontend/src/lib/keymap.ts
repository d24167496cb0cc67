/** Which key does what on the labeling screen. The help dialog is made from the same table. */

export type Command =
  | { readonly name: "label"; readonly digit: string }
  | { readonly name: "review"; readonly digit: string }
  | { readonly name: PlainCommand }
  | { readonly name: "move"; readonly dx: number; readonly dy: number; readonly extend: boolean };

export type PlainCommand =
  | "remove"
  | "pick-all"
  | "invert"
  | "undo"
  | "redo"
  | "context"
  | "escape"
  | "lasso"
  | "pan"
  | "reset-view"
  | "train"
  | "next-filter"
  | "next-color"
  | "next-order"
  | "outline"
  | "help"
  | "toggle"
  | "choose-class"
  | "confirm"
  | "accept-sample"
  | "next-suggestion"
  | "similar"
  | "larger"
  | "smaller"
  | "page-down"
  | "page-up"
  | "first"
  | "last";

export interface KeyPress {
  readonly key: string;
  readonly code: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly metaKey: boolean;
  readonly altKey: boolean;
}

const LETTERS: Record<string, PlainCommand> = {
  a: "pick-all",
  i: "invert",
  c: "context",
  l: "lasso",
  p: "pan",
  r: "reset-view",
  t: "train",
  f: "next-filter",
  v: "next-color",
  o: "next-order",
  b: "outline",
  n: "choose-class",
  g: "next-suggestion",
  s: "similar",
};

const NAMED: Record<string, PlainCommand> = {
  Escape: "escape",
  " ": "toggle",
  Enter: "confirm",
  "?": "help",
  "+": "larger",
  "=": "larger",
  "-": "smaller",
  PageDown: "page-down",
  PageUp: "page-up",
  Home: "first",
  End: "last",
};

const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** The command of a key press, or null. Digits go by the physical key, so that Shift and a French keyboard work too. */
export function commandFor(press: KeyPress): Command | null {
  const modified = press.ctrlKey || press.metaKey;
  const letter = press.key.toLowerCase();
  if (modified && !press.altKey) {
    if (letter === "z") return { name: press.shiftKey ? "redo" : "undo" };
    if (letter === "y") return { name: "redo" };
    if (letter === "a") return { name: "pick-all" };
    return null;
  }
  if (press.altKey) return null;
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(press.code)?.[1];
  if (digit !== undefined && !(press.code.startsWith("Numpad") && !/^[0-9]$/.test(press.key))) {
    if (digit === "0") return press.shiftKey ? null : { name: "remove" };
    return { name: press.shiftKey ? "review" : "label", digit };
  }
  if (letter === "z") return { name: press.shiftKey ? "redo" : "undo" };
  const arrow = ARROWS[press.key];
  if (arrow !== undefined) return { name: "move", dx: arrow[0], dy: arrow[1], extend: press.shiftKey };
  if (press.key === "Enter" && press.shiftKey) return { name: "accept-sample" };
  const named = NAMED[press.key];
  if (named !== undefined) return { name: named };
  if (press.shiftKey) return null;
  const plain = LETTERS[letter];
  return plain === undefined ? null : { name: plain };
}

/** Whether it types a character: speech input presses such keys, a word at a time. */
export const isCharacter = (press: KeyPress): boolean =>
  press.key.length === 1 && !press.ctrlKey && !press.metaKey && !press.altKey;

/** Whether a key pressed there belongs to the element: typing must never label. */
export function belongsToField(target: EventTarget | null): boolean {
  // A click on a dialog's plain text may leave the focus on the page behind it.
  if (document.querySelector("dialog[open]") !== null) return true;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable) return true;
  if (target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "range"].includes(target.type);
}

/** Keys that a focused button, link or slider needs for itself. */
export function belongsToControl(target: EventTarget | null, key: string): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return /^(Arrow|Page|Home|End| )/.test(key);
  const control = target.closest("button, a[href], summary, [role='option'], [role='separator']");
  return control !== null && (key === "Enter" || key === " ");
}

export const HELP: readonly { readonly title: string; readonly rows: readonly (readonly [string, string])[] }[] = [
  {
    title: "Label",
    rows: [
      ["1 … 9", "Label the selected patches with that class; of a page to confirm, those taken out of it"],
      ["0", "Remove their labels"],
      ["N, Enter", "Choose the class from a list (any number of classes)"],
      ["G", "Go to what is suggested next"],
      ["Shift 1 … 9", "Review: what the model calls that class, surest first"],
      ["Enter", "Confirm what stays selected of a page or a review, then show its next patches"],
      ["Shift Enter", "In a sample that was looked at: see more where some are wrong, else accept the rest"],
      ["Z", "Undo"],
      ["Shift Z", "Redo"],
    ],
  },
  {
    title: "Grid",
    rows: [
      [
        "A",
        "Select all patches of the region, whatever its size; of a page where each gets its class, those without one",
      ],
      ["I", "Invert the selection"],
      ["Click", "Select one; Shift extends, Ctrl adds or removes"],
      [
        "Drag",
        "Select a rectangle; Shift adds, Alt removes. On a page to confirm, and in a sample: leaves out or takes in, as a click on its first",
      ],
      ["← ↑ → ↓", "Move the cursor; Shift extends"],
      ["PageUp, PageDown, Home, End", "Scroll"],
      ["Space", "Select or release the patch at the cursor"],
      ["C, right click", "Show the surroundings with the outline"],
      ["S", "Search for objects similar to the selected ones, or to the patch pointed at"],
      ["O", "Next order"],
      ["B", "Show or hide the border of the object in every patch"],
      ["+ −", "Larger, smaller patches"],
    ],
  },
  {
    title: "Map",
    rows: [
      ["Drag", "Lasso; Shift adds, Alt subtracts"],
      ["Space drag", "Pan (also middle or right button)"],
      ["Wheel", "Zoom"],
      ["L", "Lasso tool"],
      ["P", "Pan tool"],
      ["R", "Show the whole map"],
      ["V", "Next coloring"],
      ["F", "Next filter"],
    ],
  },
  {
    title: "Other",
    rows: [
      ["T", "Train and redraw the map"],
      ["Esc", "Close, then clear the selection, then the region; leave a sample, its marks stay"],
      ["?", "This help"],
    ],
  },
];
