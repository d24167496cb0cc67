import { el } from "../../lib/dom";
import { zoomFactor } from "../../lib/wheel";

/** Pixels that a press may wander and still be a click. */
const DRAG_FROM_PX = 4;
const KEY_FACTOR = 1.25;

/** The picture in a window of the page: the wheel makes it larger where the pointer is, dragging moves it. A scale is pixels of the screen
 * for one of the image; null: all of it at once. */
export class Stage {
  readonly element: HTMLElement;
  /** Where a press began, and what was in view then; null while nothing is dragged. */
  private drag: { readonly x: number; readonly y: number; readonly left: number; readonly top: number } | null = null;
  private wasDragged = false;

  constructor(
    private readonly picture: HTMLElement,
    private readonly size: { readonly width: number; readonly height: number },
    private readonly most: number,
    private readonly changed: (scale: number | null) => void,
  ) {
    this.element = el(
      "div",
      // What is larger than the page is scrolled by the arrow keys, too.
      {
        class: "image-objects__stage",
        tabindex: "0",
        role: "region",
        "aria-label": "The image. Wheel to zoom, drag to move.",
      },
      picture,
    );
    this.element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("pointerdown", (event) => this.press(event));
    this.element.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"] as const)
      this.element.addEventListener(end, () => (this.drag = null));
    // Before anything inside hears of it: who has moved the picture has not clicked on it.
    this.element.addEventListener("click", (event) => this.wasDragged && event.stopPropagation(), { capture: true });
    picture.addEventListener("dragstart", (event) => event.preventDefault());
    this.show(null);
  }

  show(scale: number | null): void {
    const { width, height } = this.size;
    const all = `min(100%, calc(var(--stage-height) * ${width / height}))`;
    this.picture.style.width = scale === null ? all : `${scale * width}px`;
    this.element.classList.toggle("image-objects__stage--larger", scale !== null);
  }

  /** A place of the image into the middle of the view, as far as there is picture around it. */
  bring({ x, y }: { readonly x: number; readonly y: number }): void {
    const scale = this.picture.getBoundingClientRect().width / this.size.width;
    const { clientWidth, clientHeight } = this.element;
    this.element.scrollTo(x * scale - clientWidth / 2, y * scale - clientHeight / 2);
  }

  /** Larger or smaller by a factor; what is under (x, y), in pixels of the window, stays there. Whether anything changed. */
  private zoomAt(factor: number, x: number, y: number): boolean {
    const before = this.picture.getBoundingClientRect();
    const scale = before.width / this.size.width;
    const wanted = Math.min(scale * factor, Math.max(this.most, this.fit));
    const next = wanted <= this.fit ? null : wanted;
    if (wanted === scale || (next === null && scale <= this.fit)) return false;
    this.show(next);
    const after = this.picture.getBoundingClientRect();
    this.element.scrollLeft += after.left + ((x - before.left) / before.width) * after.width - x;
    this.element.scrollTop += after.top + ((y - before.top) / before.height) * after.height - y;
    this.changed(next);
    return true;
  }

  /** The scale at which all of the image is in view. */
  private get fit(): number {
    const { width, height } = this.size;
    const tallest = Number.parseFloat(getComputedStyle(this.element).maxHeight);
    return Math.min(this.element.clientWidth / width, tallest / height);
  }

  /** A wheel that can make it no smaller scrolls the page. */
  private wheel(event: WheelEvent): void {
    if (this.zoomAt(zoomFactor(event), event.clientX, event.clientY) || event.deltaY < 0) event.preventDefault();
  }

  private key(event: KeyboardEvent): void {
    if (!["+", "=", "-"].includes(event.key) || event.ctrlKey || event.metaKey) return;
    const { left, top, width, height } = this.element.getBoundingClientRect();
    this.zoomAt(event.key === "-" ? 1 / KEY_FACTOR : KEY_FACTOR, left + width / 2, top + height / 2);
    event.preventDefault();
  }

  private press(event: PointerEvent): void {
    this.wasDragged = false;
    // A finger scrolls by itself.
    if (event.button !== 0 || event.pointerType === "touch") return;
    const { scrollLeft: left, scrollTop: top } = this.element;
    this.drag = { x: event.clientX, y: event.clientY, left, top };
  }

  private move(event: PointerEvent): void {
    const { drag } = this;
    if (drag === null) return;
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!this.wasDragged) {
      if (Math.hypot(x, y) < DRAG_FROM_PX) return;
      this.wasDragged = true;
      this.element.setPointerCapture(event.pointerId);
    }
    this.element.scrollTo(drag.left - x, drag.top - y);
  }
}
