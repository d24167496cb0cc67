import { HIDDEN, type Look, MARKED, PointLayer } from "../../../gl/point-layer";
import { isDark, parseColor, type Rgb } from "../../../lib/colors";
import { el, ICONS, icon, showInstead } from "../../../lib/dom";
import { plural } from "../../../lib/format";
import { clamp, type Point, simplify } from "../../../lib/geometry";
import { zoomFactor } from "../../../lib/wheel";
import type { FilterMode } from "../../../state/filters";
import type { LassoOp } from "../../../state/selection";
import type { WorkspaceController } from "../controller";
import { type Coloring, colorize, countEntries } from "./coloring";
import { HoverCard } from "./hover-card";
import { Legend } from "./legend";
import { PlotOverlay } from "./overlay";
import { PlotToolbar } from "./toolbar";

const MOVE_MS = 800;
/** A drag of fewer pixels is a click. */
const DRAG_PX = 4;
const PICK_RADIUS_PX = 9;
const KEY_STEP_PX = 48;
/** Outside the selection; a dark ground swallows colors sooner. */
const DIMMED_ON_LIGHT = { alpha: 0.65, fade: 0.6 };
const DIMMED_ON_DARK = { alpha: 0.8, fade: 0.45 };
/** While the view moves, a frame may take this long before points are left out. */
const FRAME_BUDGET_MS = 40;

type Gesture =
  | { readonly kind: "lasso"; readonly op: LassoOp; readonly path: Point[] }
  | { readonly kind: "pan"; x: number; y: number; moved: number; readonly button: number };

export interface PlotCallbacks {
  /** The user asked for the surroundings of an object: a right click at (x, y) of the window. */
  onContext(ordinal: number, x: number, y: number): void;
  /** The user clicked a point: the grid should show it. */
  onReveal(ordinal: number): void;
}

const FILTER_CHIPS: Partial<Record<FilterMode, string>> = {
  seen: "Without labels by sample",
  sampled: "Only labels by sample",
};

/** The map: points by WebGL, lasso and marks as SVG above; below the map, never on it, the legend.
 *
 * It has no axes: what the numbers of such a map are, means nothing. */
export class EmbeddingPlot {
  readonly element: HTMLElement;
  private readonly stage: HTMLElement;
  private readonly layer: PointLayer | null;
  private readonly pointCanvas: HTMLCanvasElement;
  private readonly overlay: PlotOverlay;
  private readonly legend: Legend;
  private readonly hover: HoverCard;
  private readonly empty: HTMLElement;
  private readonly chips: HTMLElement;
  private readonly resizer: ResizeObserver;
  private readonly subscriptions: (() => void)[] = [];
  private coloring: Coloring | null = null;
  private colorBytes = new Uint8Array(0);
  private stateBytes = new Uint8Array(0);
  private gesture: Gesture | null = null;
  private spaceHeld = false;
  private pointerInside = false;
  private frame = 0;
  private dirty = { points: true, overlay: true };
  private moveStart = 0;
  private fullFrameMs = 0;
  private movingUntil = 0;
  private settleTimer: number | undefined;
  private recolorQueued = false;
  private look!: Omit<Look, "pointSize" | "alpha" | "dimOthers">;
  private ground!: Rgb;
  /** The rim of labeled points. */
  private mark!: Rgb;

  constructor(
    private readonly controller: WorkspaceController,
    private readonly callbacks: PlotCallbacks,
  ) {
    this.pointCanvas = el("canvas", { class: "plot__points" });
    this.empty = el("div", { class: "plot__empty" });
    this.chips = el("div", { class: "plot__chips" });
    this.stage = el(
      "div",
      {
        class: "plot__stage",
        tabindex: "0",
        role: "application",
        "aria-label": "Map of all objects. Drag to draw a lasso, wheel to zoom.",
        "data-testid": "plot-stage",
      },
      this.pointCanvas,
    );
    this.overlay = new PlotOverlay(this.stage);
    this.stage.append(this.chips);
    this.legend = new Legend(
      controller.preferences.legendOpen,
      (value) => controller.filters.toggleClass(value),
      (open) => controller.savePreferences({ legendOpen: open }),
    );
    this.stage.append(this.empty);
    const toolbar = new PlotToolbar(controller);
    this.element = el(
      "section",
      { class: "panel plot", "aria-label": "Map", "data-testid": "plot" },
      toolbar.element,
      this.stage,
      this.legend.element,
    );
    this.hover = new HoverCard(controller);
    this.layer = this.createLayer();
    this.readTheme();
    this.listen();
    this.subscriptions.push(() => toolbar.destroy());
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(this.stage);
    this.showEmpty();
    this.showChips();
  }

  destroy(): void {
    cancelAnimationFrame(this.frame);
    window.clearTimeout(this.settleTimer);
    for (const end of this.subscriptions) end();
    this.resizer.disconnect();
    this.hover.destroy();
    this.layer?.destroy();
    window.removeEventListener("keydown", this.spaceDown);
    window.removeEventListener("keyup", this.spaceUp);
    window.removeEventListener("theme:changed", this.themeChanged);
  }

  /** Whether the pointer is over the map: Space then pans and does not pick. */
  get hasPointer(): boolean {
    return this.pointerInside;
  }

  /** Where a point is in the window, in CSS pixels, or null when it has no place. */
  pointToClient(ordinal: number): { x: number; y: number } | null {
    const place = this.dataPlace(ordinal);
    if (place === null) return null;
    const [x, y] = this.controller.viewport.toPixels(place[0], place[1]);
    const box = this.stage.getBoundingClientRect();
    return { x: box.left + x, y: box.top + y };
  }

  /** Data coordinates of an object on the newest map. */
  dataPlace(ordinal: number): Point | null {
    const { plot } = this.controller.project;
    if (plot === null || ordinal < 0 || ordinal >= plot.n) return null;
    const { bounds, positions } = plot;
    return [
      bounds.x0 + (bounds.width * positions[2 * ordinal]!) / 65535,
      bounds.y0 + (bounds.height * positions[2 * ordinal + 1]!) / 65535,
    ];
  }

  /** For checks: whether the points stand at their newest places. */
  get isMoving(): boolean {
    return this.moveStart > 0;
  }

  private createLayer(): PointLayer | null {
    try {
      return new PointLayer(this.pointCanvas, () => this.redraw());
    } catch (error) {
      console.error("PatchSorter:", error);
      return null;
    }
  }

  private listen(): void {
    const { project, labels, selection, filters, viewport } = this.controller;
    this.subscriptions.push(
      project.on("embedding", () => this.takePlot()),
      project.on(["state", "images", "groups"], () => this.queueRecolor()),
      project.on(["status", "jobs", "objects", "embedding"], () => this.showEmpty()),
      project.on(["hidden", "objects", "embedding", "state"], () => this.showChips()),
      project.on("hidden", () => this.queueRecolor()),
      labels.on("labels", () => this.queueRecolor()),
      filters.on("colors", () => this.queueRecolor()),
      filters.on("filters", () => this.showChips()),
      selection.on("region", () => {
        this.takeSelection();
        this.queueRecolor();
      }),
      selection.on("picks", () => this.takePicks()),
      selection.on(["focus", "cursor"], () => this.redrawOverlay()),
      viewport.on("view", () => {
        this.viewMoved();
        this.redraw();
      }),
      this.controller.on("tool", () => this.showCursor()),
    );
    const { stage } = this;
    stage.addEventListener("pointerdown", (event) => this.pointerDown(event));
    stage.addEventListener("pointermove", (event) => this.pointerMove(event));
    stage.addEventListener("pointerup", (event) => this.pointerUp(event));
    stage.addEventListener("pointercancel", () => this.cancelGesture());
    stage.addEventListener("keydown", (event) => this.keyDown(event));
    stage.addEventListener("blur", () => {
      delete stage.dataset["byPointer"];
    });
    stage.addEventListener("pointerenter", () => {
      this.pointerInside = true;
    });
    stage.addEventListener("pointerleave", () => {
      this.pointerInside = false;
      this.hover.hide();
      selection.setFocus(-1);
    });
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    stage.addEventListener("dblclick", (event) => {
      if (this.onControl(event)) return;
      const [x, y] = this.at(event);
      viewport.zoomAt(2, x, y);
    });
    window.addEventListener("keydown", this.spaceDown);
    window.addEventListener("keyup", this.spaceUp);
    window.addEventListener("theme:changed", this.themeChanged);
  }

  private readonly spaceDown = (event: KeyboardEvent): void => {
    if (event.code !== "Space" || !this.pointerInside) return;
    this.spaceHeld = true;
    this.showCursor();
  };

  private readonly spaceUp = (event: KeyboardEvent): void => {
    if (event.code !== "Space") return;
    this.spaceHeld = false;
    this.showCursor();
  };

  private readonly themeChanged = (): void => {
    this.readTheme();
    this.recolor();
  };

  private readTheme(): void {
    const style = getComputedStyle(document.documentElement);
    const token = (name: string): Rgb => parseColor(style.getPropertyValue(name));
    const unit = ([r, g, b]: Rgb): Rgb => [r / 255, g / 255, b / 255];
    this.ground = token("--plot-background");
    this.mark = token("--plot-mark");
    this.look = {
      background: unit(this.ground),
      highlight: unit(token("--accent-text")),
      dimmed: isDark(this.ground) ? DIMMED_ON_DARK : DIMMED_ON_LIGHT,
    };
  }

  private get unknownColor(): Rgb {
    return parseColor(getComputedStyle(document.documentElement).getPropertyValue("--plot-unknown"));
  }

  // Data to layer ------------------------------------------------------------------------------------------------------

  private takePlot(): void {
    const { plot } = this.controller.project;
    if (plot === null) {
      // A first layout was cancelled: nothing has a place again.
      this.layer?.setPoints(new Uint16Array(0), { x0: 0, y0: 0, width: 1, height: 1 }, false);
      this.redraw();
      return;
    }
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const move = !calm && this.layer !== null && this.layer.n > 0;
    this.layer?.setPoints(plot.positions, plot.bounds, move);
    this.colorBytes = new Uint8Array(plot.n);
    this.stateBytes = new Uint8Array(plot.n);
    this.moveStart = move ? performance.now() : 0;
    this.fullFrameMs = 0;
    this.controller.viewport.setBounds(plot.bounds);
    this.takeSelection();
    this.takePicks();
    this.recolor();
  }

  private takeSelection(): void {
    const { selection } = this.controller;
    this.layer?.setSelection(selection.isRegion ? this.placed(selection.order) : new Uint32Array(0));
    this.redraw();
  }

  private takePicks(): void {
    const { selection } = this.controller;
    // Everything picked is not worth a mark on everything.
    const whole = !selection.isRegion && selection.pickedCount === selection.size;
    this.layer?.setPicks(whole ? new Uint32Array(0) : this.placed(selection.picks()));
    this.redraw();
  }

  private placed(ordinals: Uint32Array): Uint32Array {
    const n = this.controller.project.plot?.n ?? 0;
    return n >= this.controller.project.nObjects ? ordinals : ordinals.filter((ordinal) => ordinal < n);
  }

  /** Several stores speak up in one gesture; the colors are made once for all of them. */
  private queueRecolor(): void {
    if (this.recolorQueued) return;
    this.recolorQueued = true;
    queueMicrotask(() => {
      this.recolorQueued = false;
      this.recolor();
    });
  }

  private recolor(): void {
    const { project, labels, filters, selection } = this.controller;
    const n = project.plot?.n ?? 0;
    if (n === 0) return;
    this.coloring = colorize(
      filters.color,
      {
        n,
        labels: labels.shown,
        predictions: project.predictions,
        confidences: project.confidences,
        images: project.images,
        imageNames: project.imageNames,
        groups: project.groups?.groups ?? null,
      },
      project.classes,
      { unknown: this.unknownColor },
      this.colorBytes,
    );
    for (let i = 0; i < n; i++) {
      this.stateBytes[i] = (project.hidden[i] === 0 ? 0 : HIDDEN) | (labels.shown[i] === 0 ? 0 : MARKED);
    }
    this.layer?.setColors(this.coloring.colors);
    this.layer?.setPalette(this.coloring.palette.forPoints(this.ground, this.mark));
    this.layer?.setStates(this.stateBytes);
    const region = selection.isRegion ? selection.order : null;
    const counts = countEntries(this.coloring.colors, project.hidden, region);
    this.legend.update({
      mode: filters.color,
      nObjects: n,
      coloring: this.coloring,
      all: counts.all,
      region: region === null ? null : counts.region,
      activeClasses: filters.classes,
    });
    this.redraw();
  }

  // Drawing ------------------------------------------------------------------------------------------------------------

  private resize(): void {
    const { width, height } = this.stage.getBoundingClientRect();
    if (width < 2 || height < 2) return;
    this.layer?.resize(width, height, window.devicePixelRatio);
    this.controller.viewport.resize(width, height);
    this.redraw();
  }

  private redraw(): void {
    this.dirty.points = true;
    this.redrawOverlay();
  }

  private redrawOverlay(): void {
    this.dirty.overlay = true;
    if (this.frame === 0) this.frame = requestAnimationFrame((now) => this.render(now));
  }

  private viewMoved(): void {
    this.movingUntil = performance.now() + 140;
    window.clearTimeout(this.settleTimer);
    if (this.fullFrameMs > FRAME_BUDGET_MS) this.settleTimer = window.setTimeout(() => this.redraw(), 160);
  }

  private render(now: number): void {
    this.frame = 0;
    if (this.moveStart > 0) this.dirty.points = true;
    if (this.dirty.points) {
      this.dirty.points = false;
      this.drawPoints(now);
    }
    if (this.dirty.overlay) {
      this.dirty.overlay = false;
      this.drawOverlay();
    }
    if (this.moveStart > 0) this.redraw();
  }

  private drawPoints(now: number): void {
    const { viewport, project, selection } = this.controller;
    const n = project.plot?.n ?? 0;
    let moved = 1;
    if (this.moveStart > 0) {
      const t = clamp((now - this.moveStart) / MOVE_MS, 0, 1);
      moved = t < 0.5 ? 4 * t * t * t : 1 - (2 - 2 * t) ** 3 / 2;
      if (t >= 1) {
        this.moveStart = 0;
        this.layer?.forgetPrevious();
      }
    }
    const moving = this.moveStart > 0 || performance.now() < this.movingUntil;
    const stride = moving && this.fullFrameMs > FRAME_BUDGET_MS ? Math.ceil(this.fullFrameMs / FRAME_BUDGET_MS) : 1;
    const zoom = viewport.zoom;
    const look: Look = {
      ...this.look,
      pointSize: clamp(clamp(60 / Math.max(1, n) ** 0.32, 1.15, 8) * Math.max(1, zoom) ** 0.5, 1, 12),
      alpha: clamp(1.3 - 0.125 * Math.log10(Math.max(10, n)) + 0.07 * Math.log2(Math.max(1, zoom)), 0.4, 0.95),
      dimOthers: selection.isRegion,
    };
    const started = performance.now();
    this.layer?.draw(viewport, look, moved, stride);
    if (stride === 1 && n > 50_000) this.measure(started);
  }

  /** How long the device takes for a whole frame, learned when the next frame can start. */
  private measure(started: number): void {
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => {
        this.fullFrameMs = performance.now() - started;
      };
      channel.port2.postMessage(0);
    });
  }

  private drawOverlay(): void {
    const { viewport, selection } = this.controller;
    const pixels = (points: readonly Point[]) => points.map(([x, y]) => viewport.toPixels(x, y));
    const place = (ordinal: number): Point | null => {
      const data = this.moveStart > 0 ? null : this.dataPlace(ordinal);
      return data === null ? null : viewport.toPixels(data[0], data[1]);
    };
    const { gesture } = this;
    this.overlay.update({
      outlines: selection.steps.map(({ op, points }) => ({ op, points: pixels(points) })),
      lasso: gesture?.kind === "lasso" && gesture.path.length > 1 ? { op: gesture.op, points: gesture.path } : null,
      cursor: selection.cursor < 0 ? null : place(selection.order[selection.cursor]!),
      focus: place(selection.focus),
    });
  }

  // Pointer ------------------------------------------------------------------------------------------------------------

  private at(event: MouseEvent): Point {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  private onControl(event: Event): boolean {
    return event.target instanceof Element && event.target.closest(".plot__chips, .plot__empty") !== null;
  }

  private showCursor(): void {
    const pans = this.spaceHeld || this.controller.tool === "pan";
    this.stage.classList.toggle("plot__stage--pan", pans);
    this.stage.classList.toggle("plot__stage--panning", this.gesture?.kind === "pan");
  }

  private pointerDown(event: PointerEvent): void {
    if (this.onControl(event) || this.gesture !== null) return;
    const [x, y] = this.at(event);
    this.hover.hide();
    this.stage.dataset["byPointer"] = "";
    this.stage.setPointerCapture(event.pointerId);
    const pans = event.button !== 0 || this.spaceHeld || this.controller.tool === "pan";
    if (pans) {
      this.gesture = { kind: "pan", x, y, moved: 0, button: event.button };
    } else {
      const op: LassoOp = event.shiftKey ? "add" : event.altKey ? "subtract" : "new";
      this.gesture = { kind: "lasso", op, path: [[x, y]] };
      this.controller.region.beginLasso();
    }
    if (event.button === 1) event.preventDefault();
    this.showCursor();
  }

  private pointerMove(event: PointerEvent): void {
    const [x, y] = this.at(event);
    const { gesture } = this;
    if (gesture === null) {
      if (!this.onControl(event)) this.hoverAt(event, x, y);
      else this.hover.hide();
      return;
    }
    if (gesture.kind === "pan") {
      gesture.moved += Math.abs(x - gesture.x) + Math.abs(y - gesture.y);
      if (gesture.moved > DRAG_PX) this.controller.viewport.pan(x - gesture.x, y - gesture.y);
      gesture.x = x;
      gesture.y = y;
      return;
    }
    const last = gesture.path.at(-1)!;
    if (Math.hypot(x - last[0], y - last[1]) < 2) return;
    gesture.path.push([x, y]);
    this.redrawOverlay();
  }

  private pointerUp(event: PointerEvent): void {
    const { gesture } = this;
    if (gesture === null) return;
    this.gesture = null;
    this.controller.region.endLasso();
    this.showCursor();
    const [x, y] = this.at(event);
    const ordinal = this.pick(x, y);
    if (gesture.kind === "pan") {
      if (gesture.button === 2 && gesture.moved <= DRAG_PX && ordinal >= 0) {
        this.callbacks.onContext(ordinal, event.clientX, event.clientY);
      } else if (gesture.button === 0 && gesture.moved <= DRAG_PX && ordinal >= 0) {
        this.callbacks.onReveal(ordinal);
      }
      return;
    }
    this.redrawOverlay();
    const [x0, y0] = gesture.path[0]!;
    const reach = Math.max(...gesture.path.map(([px, py]) => Math.hypot(px - x0, py - y0)));
    if (reach <= DRAG_PX) {
      if (ordinal >= 0) this.callbacks.onReveal(ordinal);
      return;
    }
    const { viewport } = this.controller;
    const polygon = simplify(gesture.path, 0.75).map(([px, py]) => viewport.toData(px, py));
    if (polygon.length >= 3) void this.controller.region.lasso(polygon, gesture.op);
  }

  /** Leaves a lasso or a pan unfinished. Returns whether there was one. */
  cancelGesture(): boolean {
    if (this.gesture === null) return false;
    this.gesture = null;
    this.controller.region.endLasso();
    this.showCursor();
    this.redrawOverlay();
    return true;
  }

  /** Who came to the map by keyboard moves it by keyboard; after a click the keys are the grid's. */
  private keyDown(event: KeyboardEvent): void {
    if (event.target !== this.stage || this.stage.dataset["byPointer"] !== undefined) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { viewport } = this.controller;
    const step: Record<string, readonly [number, number]> = {
      ArrowLeft: [1, 0],
      ArrowRight: [-1, 0],
      ArrowUp: [0, 1],
      ArrowDown: [0, -1],
    };
    const move = step[event.key];
    if (move !== undefined) viewport.pan(move[0] * KEY_STEP_PX, move[1] * KEY_STEP_PX);
    else if (event.key === "+" || event.key === "=") viewport.zoomAt(1.25, viewport.width / 2, viewport.height / 2);
    else if (event.key === "-") viewport.zoomAt(0.8, viewport.width / 2, viewport.height / 2);
    else return;
    event.preventDefault();
  }

  private wheel(event: WheelEvent): void {
    if (this.onControl(event)) return;
    event.preventDefault();
    // A lasso is drawn around points where they are.
    if (this.gesture?.kind === "lasso") return;
    const [x, y] = this.at(event);
    this.hover.hide();
    this.controller.viewport.zoomAt(zoomFactor(event), x, y);
  }

  private hoverAt(event: PointerEvent, x: number, y: number): void {
    const ordinal = this.pick(x, y);
    this.controller.selection.setFocus(ordinal);
    this.hover.show(ordinal, event.clientX, event.clientY);
  }

  private pick(x: number, y: number): number {
    const { project, viewport } = this.controller;
    const { plot, index } = project;
    if (plot === null || index === null || this.moveStart > 0) return -1;
    const [dataX, dataY] = viewport.toData(x, y);
    const perX = 65535 / plot.bounds.width;
    const perY = 65535 / plot.bounds.height;
    const radius = PICK_RADIUS_PX / viewport.scale;
    return index.nearest(
      (dataX - plot.bounds.x0) * perX,
      (dataY - plot.bounds.y0) * perY,
      radius * perX,
      radius * perY,
      project.hidden,
    );
  }

  // What stands in for the map -------------------------------------------------------------------------------------------

  private showEmpty(): void {
    const { project, config } = this.controller;
    const content = this.emptyContent();
    this.empty.hidden = content === null;
    this.stage.classList.toggle("plot__stage--empty", content !== null);
    if (content === null) return;
    const job = project.activeJob;
    this.empty.replaceChildren(
      el("h2", { class: "empty-state__title" }, content.title),
      el("p", { class: "empty-state__text" }, content.text),
    );
    if (job !== null && project.status === "ready") {
      const bar = el("progress", { class: "progress plot__empty-progress", max: "1" });
      if (job.progress !== null && job.progress > 0) bar.value = job.progress;
      this.empty.append(bar, el("p", { class: "empty-state__text num" }, job.message ?? job.stage ?? ""));
    }
    if (content.action === "images") {
      this.empty.append(
        el(
          "div",
          { class: "empty-state__actions" },
          el("a", { class: "button button--primary", href: config.imagesUrl }, "Add images"),
        ),
      );
    } else if (content.action === "train") {
      this.empty.append(
        el(
          "div",
          { class: "empty-state__actions" },
          el(
            "button",
            {
              type: "button",
              class: "button button--primary",
              disabled: !project.canTrain,
              onclick: () => void this.controller.jobs.train(),
            },
            "Train and draw the map",
          ),
        ),
      );
    } else if (content.action === "reload") {
      this.empty.append(
        el(
          "div",
          { class: "empty-state__actions" },
          el(
            "button",
            { type: "button", class: "button", onclick: () => void this.controller.sync.start() },
            "Try again",
          ),
        ),
      );
    }
  }

  private emptyContent(): { title: string; text: string; action: "images" | "train" | "reload" | null } | null {
    const { project } = this.controller;
    if (this.layer === null) {
      return {
        title: "The map cannot be drawn here",
        text: "This browser or its graphics driver does not offer WebGL 2. The grid works without it.",
        action: null,
      };
    }
    if (project.status === "failed") {
      return { title: "The project could not be loaded", text: project.problem, action: "reload" };
    }
    if (project.status === "loading") return { title: "Loading the project", text: "", action: null };
    if (project.plot !== null) return null;
    if (project.nObjects === 0) {
      return project.activeJob === null
        ? {
            title: "No objects yet",
            text: "Upload images with their masks, and their objects appear here.",
            action: "images",
          }
        : { title: "Reading the images", text: "The objects appear here as soon as they are found.", action: null };
    }
    if (project.embedding !== null) return { title: "Loading the map", text: "", action: null };
    return project.activeJob === null
      ? {
          title: "No map yet",
          text: `The model has not seen these ${plural(project.nObjects, "object")} yet.${project.canLabel ? " You can label in the grid already." : ""}`,
          action: "train",
        }
      : {
          title: "The first map is being made",
          text: project.canLabel
            ? "You can label in the grid already; the map appears here by itself."
            : "It appears here by itself.",
          action: null,
        };
  }

  /** What the map does not show at the moment, each with the way back. */
  private showChips(): void {
    const { filters, project } = this.controller;
    const chips: HTMLElement[] = [];
    const chip = (text: string, title: string, run: () => void, more: Record<string, unknown> = {}) =>
      chips.push(
        el("button", { type: "button", class: "filter-chip", title, onclick: run, ...more }, text, icon(ICONS.close)),
      );
    if (project.plot !== null) {
      if (filters.mode !== "all")
        chip(FILTER_CHIPS[filters.mode] ?? `Only ${filters.mode}`, "Show all", () => filters.setMode("all"));
      for (const value of filters.classes) {
        const name = project.classOf(value)?.name ?? String(value);
        chip(name, `No longer only ${name}`, () => filters.toggleClass(value), { "data-class": value });
      }
      const [only] = filters.classes;
      if (only !== undefined && filters.classes.size === 1) {
        chips.push(
          el(
            "button",
            {
              type: "button",
              class: "filter-chip filter-chip--info",
              title: "What the model calls this class and nobody labeled yet (Shift and the key of the class)",
              "data-testid": "review",
              "data-class": only,
              onclick: () => void this.controller.region.review(only),
            },
            "Review, surest first",
          ),
        );
      }
      if (filters.minConfidence > 0) {
        const shown = Math.round((100 * filters.minConfidence) / 255);
        chip(`Confidence from ${shown}%`, "Any confidence", () => filters.setMinConfidence(0));
      }
    }
    if (project.previewJob !== null) {
      chips.push(
        el(
          "span",
          { class: "filter-chip filter-chip--note", "data-testid": "preview-note" },
          "The map is being drawn: points still move",
        ),
      );
    }
    if (project.embedding?.shows_labels === true && project.previewJob === null) {
      chips.push(
        el(
          "span",
          {
            class: "filter-chip filter-chip--note",
            title:
              "Known classes were drawn apart on this map, as the project's settings ask for. That its clusters agree " +
              "with the labels therefore says nothing about the features.",
            "data-testid": "shows-labels",
          },
          "Supervised map: it shows the labels themselves",
        ),
      );
    }
    if (project.nUnplaced > 0) {
      chips.push(
        el(
          "button",
          {
            type: "button",
            class: "filter-chip filter-chip--info",
            title: "Added after this map was made. Click to see them in the grid.",
            onclick: () => this.controller.region.showUnplaced(),
          },
          `${plural(project.nUnplaced, "object")} not on the map yet`,
        ),
      );
    }
    showInstead(this.chips, ...chips);
  }
}
