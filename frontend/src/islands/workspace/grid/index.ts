import type { PatchView } from "../../../api/objects";
import { lettersOf } from "../../../lib/class-letters";
import { parseColor, type Rgb } from "../../../lib/colors";
import { el } from "../../../lib/dom";
import { percent } from "../../../lib/format";
import { clamp, type Point, rectFrom } from "../../../lib/geometry";
import type { RectangleMode } from "../../../state/selection";
import type { WorkspaceController } from "../controller";
import { NextBar } from "../next-bar";
import { AtlasCache } from "./atlas-cache";
import { drawTile, type GridTheme } from "./draw";
import { GLANCE_MS, Glances } from "./glances";
import {
  cellAt,
  type GridLayout,
  indexAt,
  indicesIn,
  isInView,
  largestOffset,
  layoutGrid,
  nearestTo,
  offsetToBegin,
  offsetToShow,
  TALLEST_PX,
  TILE_SIZES,
  visibleRange,
} from "./layout";
import { GridToolbar } from "./toolbar";

const CONTEXT_FACTOR = 4;
const LARGEST_TILE_PX = 256;
const DRAG_PX = 4;

export interface GridCallbacks {
  onContext(ordinal: number, x: number, y: number): void;
}

interface Band {
  readonly start: Point;
  end: Point;
  /** As its keys say; null where none was pressed. */
  readonly mode: RectangleMode | null;
  /** The tiles that it covers. */
  covered: readonly number[];
  clientY: number;
  clientX: number;
}

/** The patches of the region: a canvas over a scrolling area, so that a million of them cost no more than a screenful. */
export class PatchGrid {
  readonly element: HTMLElement;
  view: PatchView = "patch";
  private readonly stage: HTMLElement;
  private readonly scroller: HTMLElement;
  private readonly spacer: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private readonly active: HTMLElement;
  private readonly empty: HTMLElement;
  private readonly cache: AtlasCache;
  private readonly resizer: ResizeObserver;
  private readonly subscriptions: (() => void)[] = [];
  private layout: GridLayout = layoutGrid(0, 64, 1, 1);
  /** Scroll position in the content, which may be taller than the scrolling area can be. */
  private offset = 0;
  private ownScroll = -1;
  /** Pixels of the canvas to one of the page. */
  private ratio = 1;
  private frame = 0;
  private band: Band | null = null;
  private scrollTimer: number | undefined;
  private readonly glances = new Glances();
  private glanceTimer: number | undefined;
  private theme!: GridTheme;
  private classes = new Map<number, { color: Rgb; letter: string }>();

  constructor(
    private readonly controller: WorkspaceController,
    private readonly callbacks: GridCallbacks,
  ) {
    this.canvas = el("canvas", { class: "grid__canvas" });
    this.spacer = el("div", { class: "grid__spacer" });
    this.active = el("div", { class: "visually-hidden", role: "option", id: "grid-active" });
    this.scroller = el(
      "div",
      {
        class: "grid__scroller",
        tabindex: "0",
        role: "listbox",
        "aria-multiselectable": "true",
        "aria-label": "Patches of the region",
        "data-testid": "grid",
      },
      this.canvas,
      this.spacer,
      this.active,
    );
    this.empty = el("div", { class: "grid__empty", hidden: true });
    const next = new NextBar(controller);
    this.stage = el("div", { class: "grid__stage" }, this.scroller, this.empty);
    const toolbar = new GridToolbar(controller, this);
    this.element = el(
      "section",
      { class: "panel grid", "aria-label": "Patches" },
      next.element,
      toolbar.element,
      toolbar.banner,
      this.stage,
    );
    this.cache = AtlasCache.forProject(controller.config.api, controller.config.projectId, () => this.redraw());
    this.readTheme();
    this.subscriptions.push(
      () => toolbar.destroy(),
      () => next.destroy(),
    );
    this.listen();
    this.resizer = new ResizeObserver(() => this.relayout());
    this.resizer.observe(this.scroller);
    this.watchPixelRatio();
  }

  /** A window that is moved to another screen keeps its size, of which no observer speaks. */
  private watchPixelRatio(): void {
    const same = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    const changed = () => {
      this.relayout();
      this.watchPixelRatio();
    };
    same.addEventListener("change", changed, { once: true, signal: this.controller.signal });
  }

  /** Puts something between the toolbar and the patches. */
  addBanner(element: HTMLElement): void {
    this.stage.before(element);
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    window.clearTimeout(this.scrollTimer);
    window.clearTimeout(this.glanceTimer);
    for (const end of this.subscriptions) end();
    this.resizer.disconnect();
    this.cache.destroy();
    window.removeEventListener("theme:changed", this.themeChanged);
  }

  get tilePx(): number {
    return this.controller.preferences.tilePx;
  }

  setTilePx(tilePx: number): void {
    const anchor = this.firstVisible();
    this.controller.savePreferences({ tilePx });
    this.relayout();
    if (anchor > 0) this.scrollTo(offsetToBegin(this.layout, anchor));
  }

  stepTile(direction: 1 | -1): void {
    const at = TILE_SIZES.findIndex((size) => size >= this.tilePx);
    this.setTilePx(TILE_SIZES[clamp((at < 0 ? TILE_SIZES.length - 1 : at) + direction, 0, TILE_SIZES.length - 1)]!);
  }

  setView(view: PatchView): void {
    this.view = view;
    this.redraw();
  }

  /** Scrolls to an object of the region and puts the cursor on it. Returns false when it is not in the region. */
  reveal(ordinal: number): boolean {
    const index = this.controller.selection.rankOf(ordinal);
    if (index < 0) return false;
    this.controller.selection.setCursor(index, false);
    this.scrollTo(offsetToShow(this.layout, index, this.offset));
    return true;
  }

  moveCursor(dx: number, dy: number, extend: boolean): void {
    const { selection } = this.controller;
    if (selection.size === 0) return;
    const from = selection.cursor;
    const index = from < 0 ? this.firstVisible() : clamp(from + dx + dy * this.layout.columns, 0, selection.size - 1);
    if (extend && from >= 0) {
      if (selection.held) selection.clearPicks(); // after labeling, a new range begins
      if (!selection.rangeIsOpen) selection.beginRange(from);
      selection.setCursor(index, true);
      selection.pickRange(index);
    } else selection.setCursor(index, true);
  }

  toggleCursor(): void {
    const { selection } = this.controller;
    if (selection.cursor < 0) this.moveCursor(0, 0, false);
    if (selection.cursor >= 0) selection.toggle(selection.cursor);
  }

  page(direction: 1 | -1): void {
    this.scrollTo(this.offset + direction * Math.max(this.layout.pitch, this.layout.viewHeight - this.layout.pitch));
  }

  toEnd(last: boolean): void {
    this.scrollTo(last ? largestOffset(this.layout) : 0);
  }

  /** Where an object's tile is in the window, or null when it is not on the screen. */
  tileToClient(ordinal: number): { x: number; y: number; size: number } | null {
    const index = this.controller.selection.rankOf(ordinal);
    if (index < 0) return null;
    const { x, y, size } = cellAt(this.layout, index);
    const box = this.scroller.getBoundingClientRect();
    const top = y - this.offset;
    return top < -size || top > this.layout.viewHeight ? null : { x: box.left + x, y: box.top + top, size };
  }

  /** Indices of the tiles that are wholly or partly on the screen. */
  visibleIndices(): readonly [number, number] {
    return visibleRange(this.layout, this.offset);
  }

  /** The ordinal that a key about one patch means: the one under the pointer, else the cursor's, or -1. */
  currentOrdinal(): number {
    const { selection } = this.controller;
    if (selection.focus >= 0) return selection.focus;
    return selection.cursor >= 0 ? selection.order[selection.cursor]! : -1;
  }

  /** Leaves a rectangle unfinished. Returns whether there was one. */
  cancelBand(): boolean {
    if (this.band === null) return false;
    this.band = null;
    this.controller.selection.giveUpRectangle();
    return true;
  }

  private listen(): void {
    const { project, labels, selection } = this.controller;
    this.subscriptions.push(
      selection.on("region", () => {
        this.band = null;
        this.glances.beginAnew();
        this.relayout();
        if (selection.cursor < 0) this.scrollTo(0);
        this.showEmpty();
      }),
      selection.on("rest", () => this.relayout()), // there may be more of them
      selection.on("picks", () => {
        this.describeCursor();
        this.redraw();
      }),
      selection.on("focus", () => this.redraw()),
      selection.on("cursor", () => {
        this.describeCursor();
        if (selection.cursorByKeyboard && selection.cursor >= 0) {
          this.scrollTo(offsetToShow(this.layout, selection.cursor, this.offset));
        }
        this.redraw();
      }),
      labels.on("labels", () => {
        this.describeCursor();
        this.redraw();
      }),
      this.controller.on("outline", () => this.redraw()),
      this.controller.region.on("onward", () =>
        this.scrollTo(offsetToBegin(this.layout, this.controller.region.firstRank)),
      ),
      project.on(["state", "embedding", "predictions"], () => {
        this.readClasses();
        this.redraw();
      }),
      project.on(["status", "objects"], () => this.showEmpty()),
    );
    const { scroller } = this;
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    scroller.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    scroller.addEventListener("pointerdown", (event) => this.pointerDown(event));
    scroller.addEventListener("pointermove", (event) => this.pointerMove(event));
    scroller.addEventListener("pointerup", (event) => this.pointerUp(event));
    scroller.addEventListener("blur", () => {
      delete scroller.dataset["byPointer"];
    });
    scroller.addEventListener("pointercancel", () => this.cancelBand());
    scroller.addEventListener("pointerleave", () => {
      if (this.band === null) selection.setFocus(-1);
    });
    scroller.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      const index = this.indexUnder(event);
      if (index >= 0) this.callbacks.onContext(selection.order[index]!, event.clientX, event.clientY);
    });
    window.addEventListener("theme:changed", this.themeChanged);
  }

  private readonly themeChanged = (): void => {
    this.readTheme();
    this.redraw();
  };

  readTheme(): void {
    const style = getComputedStyle(document.documentElement);
    const token = (name: string) => style.getPropertyValue(name).trim();
    this.theme = {
      ground: parseColor(token("--surface")),
      accent: token("--accent"),
      onAccent: token("--on-accent"),
      background: token("--surface"),
      danger: token("--danger-strong"),
      tileBackground: token("--tile-background"),
      noPrediction: token("--border-strong"),
      ink: token("--text"),
      font: token("--font-sans"),
      letters: this.controller.preferences.letters,
    };
  }

  private readClasses(): void {
    this.classes = new Map(
      this.controller.project.classes.map((c, _, all) => [
        c.value,
        { color: parseColor(c.color), letter: lettersOf(c, all) },
      ]),
    );
  }

  // Layout and scrolling -------------------------------------------------------------------------------------------------

  private relayout(): void {
    const width = this.scroller.clientWidth;
    const height = this.scroller.clientHeight;
    if (width < 10 || height < 10) return;
    this.layout = layoutGrid(this.controller.selection.size, this.tilePx, width, height);
    this.spacer.style.height = `${Math.max(0, Math.min(this.layout.contentHeight, TALLEST_PX) - height)}px`;
    const ratio = window.devicePixelRatio;
    this.ratio = ratio;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
    }
    this.configureCache();
    this.scrollTo(clamp(this.offset, 0, largestOffset(this.layout)));
  }

  private configureCache(): void {
    const { outline } = this.controller.preferences;
    const extent = this.controller.project.patchSizePx * (this.view === "context" ? CONTEXT_FACTOR : 1);
    // More pixels than the patch has show nothing new, but keep the line thin.
    const useful = outline ? 2 * extent : extent;
    const needed = Math.min(this.tilePx * this.ratio, useful, LARGEST_TILE_PX);
    this.cache.configure({ tilePx: Math.max(16, Math.ceil(needed)), view: this.view, outline });
  }

  /** Content pixels per pixel of the scrollbar's range. */
  private get stretch(): number {
    const range = Math.min(this.layout.contentHeight, TALLEST_PX) - this.layout.viewHeight;
    return range <= 0 ? 1 : largestOffset(this.layout) / range;
  }

  private scrollTo(offset: number): void {
    this.offset = clamp(offset, 0, largestOffset(this.layout));
    const top = Math.round(this.offset / this.stretch);
    if (Math.round(this.scroller.scrollTop) !== top) {
      this.ownScroll = top;
      this.scroller.scrollTop = top;
    }
    this.redraw();
  }

  private scrolled(): void {
    const top = Math.round(this.scroller.scrollTop);
    // An echo of scrollTo: on a stretched scrollbar it would round the exact offset away.
    if (top === this.ownScroll) {
      this.ownScroll = -1;
      return;
    }
    this.offset = clamp(this.scroller.scrollTop * this.stretch, 0, largestOffset(this.layout));
    this.redraw();
  }

  private wheel(event: WheelEvent): void {
    if (event.ctrlKey) {
      event.preventDefault();
      this.stepTile(event.deltaY < 0 ? 1 : -1);
      return;
    }
    // A stretched scrollbar would jump over rows: one turn of the wheel is one turn of the content.
    if (this.stretch <= 1.01) return;
    event.preventDefault();
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 18 : 1;
    this.scrollTo(this.offset + event.deltaY * unit);
  }

  private firstVisible(): number {
    const [first, last] = visibleRange(this.layout, this.offset + this.layout.pitch * 0.5);
    return Math.min(first, Math.max(0, last - 1));
  }

  // Drawing --------------------------------------------------------------------------------------------------------------

  redraw(): void {
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.render());
  }

  private render(): void {
    this.frame = 0;
    const context = this.canvas.getContext("2d");
    if (context === null) return;
    const { selection, labels, project, sampling } = this.controller;
    const { layout, theme } = this;
    const { ratio } = this;
    this.configureCache();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.imageSmoothingQuality = "high";
    const [first, last] = visibleRange(layout, this.offset);
    this.scroller.toggleAttribute("data-cursor-in-view", first <= selection.cursor && selection.cursor < last);
    const inView: number[] = [];
    for (let index = first; index < last; index++) {
      const ordinal = selection.order[index]!;
      const cell = cellAt(layout, index);
      const tile = this.cache.get(ordinal);
      if (tile !== null && isInView(layout, index, this.offset)) inView.push(ordinal);
      drawTile(
        context,
        {
          x: cell.x,
          y: Math.round(cell.y - this.offset),
          tilePx: layout.tilePx,
          tile,
          prediction: this.classes.get(project.predictions[ordinal] ?? 0) ?? null,
          label: this.classes.get(labels.shown[ordinal] ?? 0) ?? null,
          unseen: labels.unseen[ordinal] === 1,
          wrong: sampling.isShown && sampling.isWrong(ordinal),
          picked: selection.isPicked(ordinal),
          cursor: index === selection.cursor,
          focused: ordinal === selection.focus,
        },
        theme,
      );
    }
    const seen = this.glances.seenAmong(inView, performance.now());
    this.controller.region.markSeen(seen, last);
    window.clearTimeout(this.glanceTimer);
    if (seen.length < inView.length) this.glanceTimer = window.setTimeout(() => this.redraw(), GLANCE_MS);
    if (this.band !== null && selection.isDrawing) this.drawBand(context, this.band);
    this.request(first, last);
  }

  /** Ask for what is on the screen, then for the next screenful, once scrolling rests for a moment. */
  private request(first: number, last: number): void {
    window.clearTimeout(this.scrollTimer);
    const ask = () => {
      const { order } = this.controller.selection;
      const screen = last - first;
      this.cache.want([
        order.subarray(first, last),
        order.subarray(last, Math.min(order.length, last + screen)),
        order.subarray(Math.max(0, first - Math.ceil(screen / 2)), first),
      ]);
    };
    this.scrollTimer = window.setTimeout(ask, 30);
  }

  private drawBand(context: CanvasRenderingContext2D, band: Band): void {
    const rect = rectFrom(band.start, band.end);
    context.fillStyle = `color-mix(in srgb, ${this.theme.accent} 14%, transparent)`;
    context.strokeStyle = this.theme.accent;
    context.lineWidth = 1;
    context.fillRect(rect.x, rect.y - this.offset, rect.width, rect.height);
    context.strokeRect(rect.x + 0.5, rect.y - this.offset + 0.5, rect.width, rect.height);
  }

  // Pointer --------------------------------------------------------------------------------------------------------------

  private contentPlace(event: MouseEvent | Band): Point {
    const box = this.scroller.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top + this.offset];
  }

  private indexUnder(event: MouseEvent): number {
    const [x, y] = this.contentPlace(event);
    return indexAt(this.layout, x, y);
  }

  private pointerDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    const [x, y] = this.contentPlace(event);
    // Beside the content lies the scrollbar.
    if (x >= this.scroller.clientWidth) return;
    this.scroller.dataset["byPointer"] = "";
    this.scroller.setPointerCapture(event.pointerId);
    this.band = {
      start: [x, y],
      end: [x, y],
      mode: event.altKey ? "subtract" : event.shiftKey || event.ctrlKey || event.metaKey ? "add" : null,
      covered: [],
      clientX: event.clientX,
      clientY: event.clientY,
    };
  }

  private pointerMove(event: PointerEvent): void {
    const { band } = this;
    const { selection } = this.controller;
    if (band === null) {
      const index = this.indexUnder(event);
      selection.setFocus(index < 0 ? -1 : selection.order[index]!);
      return;
    }
    band.clientX = event.clientX;
    band.clientY = event.clientY;
    const place = this.contentPlace(event);
    if (!selection.isDrawing) {
      if (Math.hypot(place[0] - band.start[0], place[1] - band.start[1]) < DRAG_PX) return;
      selection.beginRectangle(band.mode);
      this.autoScroll();
    }
    this.stretchBand(band);
  }

  private stretchBand(band: Band): void {
    band.end = this.contentPlace(band);
    band.covered = indicesIn(this.layout, rectFrom(band.start, band.end));
    this.controller.selection.stretchRectangle(band.covered, () => nearestTo(this.layout, band.covered, band.start));
    this.redraw();
  }

  /** A rectangle that is drawn beyond the edge takes the content along. */
  private autoScroll(): void {
    const { band } = this;
    if (band === null || !this.controller.selection.isDrawing) return;
    const box = this.scroller.getBoundingClientRect();
    const over =
      band.clientY < box.top + 16 ? band.clientY - box.top - 16 : Math.max(0, band.clientY - box.bottom + 16);
    if (over !== 0) {
      this.scrollTo(this.offset + clamp(over, -60, 60) * 0.5);
      this.stretchBand(band);
    }
    requestAnimationFrame(() => this.autoScroll());
  }

  private pointerUp(event: PointerEvent): void {
    const { band } = this;
    if (band === null) return;
    this.band = null;
    const { selection } = this.controller;
    if (selection.isDrawing) {
      this.markClicked(band.covered);
      selection.endRectangle();
      // A key is then not for the patch where the keyboard was.
      const last = band.covered.at(-1);
      if (selection.isByException && last !== undefined) selection.setCursor(last, false);
      this.redraw();
      return;
    }
    const index = this.indexUnder(event);
    if (index < 0) {
      if (!event.shiftKey && !event.ctrlKey && !event.metaKey) selection.clearPicks();
      return;
    }
    this.markClicked([index]);
    if (event.shiftKey) selection.pickRange(index);
    else if (event.ctrlKey || event.metaKey || event.altKey || selection.isByException) selection.toggle(index);
    else selection.pickOnly(index);
    selection.setCursor(index, false);
  }

  /** Whoever clicks a patch of which only a part shows, or drags over it, has looked at it. */
  private markClicked(indices: readonly number[]): void {
    const ordinals = indices.map((index) => this.controller.selection.order[index]!);
    const shown = ordinals.filter((ordinal) => this.cache.get(ordinal) !== null);
    if (shown.length > 0) this.controller.region.markSeen(shown, 0);
  }

  // Words ----------------------------------------------------------------------------------------------------------------

  private describeCursor(): void {
    const { selection, labels, project } = this.controller;
    if (selection.cursor < 0) {
      this.scroller.removeAttribute("aria-activedescendant");
      return;
    }
    const ordinal = selection.order[selection.cursor]!;
    const predicted = project.classOf(project.predictions[ordinal] ?? 0);
    const labeled = project.classOf(labels.shown[ordinal] ?? 0);
    const guess =
      predicted === undefined
        ? "no prediction"
        : `predicted ${predicted.name}, ${percent(project.confidences[ordinal]! / 255)}`;
    this.active.textContent = `Object ${ordinal}: ${guess}; ${labeled === undefined ? "unlabeled" : `labeled ${labeled.name}${labels.unseen[ordinal] === 1 ? " by sample" : ""}`}`;
    this.active.setAttribute("aria-selected", String(selection.isPicked(ordinal)));
    this.active.setAttribute("aria-posinset", String(selection.cursor + 1));
    this.active.setAttribute("aria-setsize", String(selection.size));
    this.scroller.setAttribute("aria-activedescendant", this.active.id);
  }

  private showEmpty(): void {
    const { project, selection } = this.controller;
    const nothing = project.status === "ready" && selection.size === 0 && project.nObjects > 0;
    this.empty.hidden = !nothing;
    if (!nothing) return;
    this.empty.replaceChildren(
      el("h2", { class: "empty-state__title" }, "Nothing here"),
      el(
        "p",
        { class: "empty-state__text" },
        selection.source === "lasso"
          ? `No object${this.controller.filters.active ? " that the filters show" : ""} lies in this lasso.`
          : selection.source === "similar"
            ? this.controller.filters.active
              ? "None of the objects found passes the filters. Search again: the filters then say among which."
              : "No object that is searched among can be compared."
            : "No object passes the filters.",
      ),
      el(
        "div",
        { class: "empty-state__actions" },
        el(
          "button",
          {
            type: "button",
            class: "button",
            onclick: () => {
              this.controller.filters.reset();
              this.controller.region.showAll();
            },
          },
          "Show all objects",
        ),
      ),
    );
  }
}
