import { el } from "../../lib/dom";
import { clamp } from "../../lib/geometry";

const SMALLEST = 0.22;
const LARGEST = 0.72;
const STEP = 0.03;

/** The handle between map and grid: by pointer, or by arrow keys when it has the focus. */
export function splitter(parent: HTMLElement, initial: number, onChange: (fraction: number) => void): HTMLElement {
  let fraction = clamp(initial, SMALLEST, LARGEST);
  const handle = el("div", {
    class: "splitter",
    role: "separator",
    tabindex: "0",
    "aria-orientation": "vertical",
    "aria-label": "Width of the map",
    "aria-valuemin": String(100 * SMALLEST),
    "aria-valuemax": String(100 * LARGEST),
  });
  const apply = () => {
    parent.style.setProperty("--split", String(fraction));
    handle.setAttribute("aria-valuenow", String(Math.round(100 * fraction)));
  };
  const set = (next: number) => {
    fraction = clamp(next, SMALLEST, LARGEST);
    apply();
    onChange(fraction);
  };
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = parent.getBoundingClientRect();
    set((event.clientX - box.left) / box.width);
  });
  handle.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    event.stopPropagation();
    set(fraction + (event.key === "ArrowLeft" ? -STEP : STEP));
  });
  handle.addEventListener("dblclick", () => set(0.44));
  apply();
  return handle;
}
