import { messageOf } from "../../api/http";
import type { SelectionContext, SelectionSource } from "../../api/labels";
import { fetchOrder } from "../../api/objects";
import type { Proposal } from "../../api/types";
import type { Polygon } from "../../lib/geometry";
import { indicesOf, ordinalsUpTo } from "../../lib/ordinals";
import { FILTER_MODES, type FilterMode, hiddenByFilters, SAMPLED_MODES } from "../../state/filters";
import {
  GRID_ORDERS,
  type GridOrder,
  isOrdered,
  orderLocally,
  SIMILARITY_LIMIT,
  type UsedOrder,
} from "../../state/order";
import { type LassoOp, type LassoStep, type RegionDetails, type SimilarQuery, UNFILTERED } from "../../state/selection";
import type { WorkspaceController } from "./controller";
import { Part } from "./part";

/** After the next patches of a page were brought onto the screen, a key for the ones before is not for them. */
const LOOK_MS = 300;
/** How long the grid waits for the server's order before it shows its own. */
const ORDER_PATIENCE_MS = 400;
/** An answer that takes longer is said to be on its way, until it is there or given up. */
const LATE_MS = 400;
/** So many of the objects that were searched with are kept in the record. */
const QUERY_RECORDED = 100;

interface WantedRegion {
  readonly base: Uint32Array;
  readonly source: SelectionSource;
  readonly details: RegionDetails;
  /** Whether it stands in the order that it came in. */
  readonly isOrderGiven: boolean;
}

interface ShownImage {
  readonly name: string | null;
  readonly objects: Uint32Array;
}

/** What the grid shows, in which order, and what of it has been looked at. */
export class ShownRegion extends Part<"order" | "onward"> {
  order: GridOrder = "similarity";
  /** The place in the region that the grid was last told to begin with. */
  firstRank = 0;
  /** Whether the predictions are newer than the order of the patches that have been on the screen. */
  orderIsOld = false;
  /** So many tiles, from the first, have been on the screen since the region was sorted. */
  private shownTo = 0;
  /** What waits for the lasso that is being drawn; null where none is. */
  private afterLasso: (() => void)[] | null = null;
  /** Whether more than the first screen of it has been. */
  private wasGoneThrough = false;
  /** The time of `performance.now()` until which a key is not for what was just brought onto the screen. */
  private lookUntil = 0;
  /** What was asked for last, before the filters: the selection's own region follows when its order is known. */
  private wanted: WantedRegion = { base: new Uint32Array(0), source: "all", details: {}, isOrderGiven: false };
  /** The image whose objects, or some of them, are shown. */
  private image: ShownImage | null = null;
  /** Whether the selection is what was wanted already. */
  private isArranged = true;
  /** Gestures about the region that is on its way, in their order. */
  private afterArranging: (() => void)[] = [];
  private orderRequest: AbortController | null = null;
  /** A search or a suggestion whose answer would become the region. */
  private request: AbortController | null = null;
  /** Counts the regions and orders that were asked for: only the answer to the last one is shown. */
  private asked = 0;

  constructor(controller: WorkspaceController) {
    super(controller);
    this.order = this.chosenOrder;
    this.labels.on("labels", () => this.updateHidden());
    this.filters.on("filters", () => {
      this.updateHidden();
      const { source, details } = this.wanted;
      if (UNFILTERED.has(source)) return;
      const keepPicks = this.isArranged || details.keepPicks === true;
      this.wanted = { ...this.wanted, details: { ...details, keepPicks } };
      void this.arrange();
    });
  }

  // What is shown ------------------------------------------------------------------------------------------------------

  /** All objects; of an image, where a lasso was drawn among its objects: then again all of those. */
  showAll(): void {
    if (this.image !== null && this.wanted.source === "lasso") {
      void this.showObjectsOf(this.image);
      return;
    }
    void this.show(ordinalsUpTo(this.project.nObjects), "all");
  }

  /** Objects that have no place on the newest map yet. */
  showUnplaced(): void {
    void this.show(ordinalsUpTo(this.project.nObjects, this.project.plot?.n), "unplaced");
  }

  /** The objects of one image, all together: what a person does who works from image to image. `ordinal`: the one to begin with. */
  async showImage(id: number, ordinal: number | null = null): Promise<void> {
    await this.controller.sync.loadImages();
    const { images, imageNames } = this.project;
    // Whoever has turned to something else meanwhile is left there.
    const isUntouched = this.wantedSource === "all" && this.selection.pickedCount === 0 && !this.isSelecting;
    if (images === null || !isUntouched) return;
    const objects = ordinalsUpTo(images.length).filter((ordinal) => images[ordinal] === id);
    await this.showObjectsOf({ name: imageNames.get(id) ?? null, objects });
    const rank = ordinal === null || this.selection.source !== "image" ? -1 : this.selection.rankOf(ordinal);
    if (rank >= 0) this.selection.setCursor(rank, true);
  }

  private async showObjectsOf(image: ShownImage): Promise<void> {
    const shown = this.show(image.objects, "image", { imageName: image.name });
    this.image = image;
    await shown;
  }

  /** Among the objects of one image, where those are shown.
   * @param polygon in data coordinates of the current map */
  lasso(polygon: Polygon, op: LassoOp): Promise<void> {
    const caught = this.ofImage(this.inPolygon(polygon));
    const step: LassoStep = { op, points: polygon };
    const imageName = this.image?.name ?? null;
    if (op === "new" || (op === "add" && this.wanted.source !== "lasso")) {
      return this.show(caught, "lasso", { steps: [{ ...step, op: "new" }], imageName });
    }
    const member = new Uint8Array(this.project.nObjects);
    for (const ordinal of this.wanted.base) member[ordinal] = 1;
    for (const ordinal of caught) member[ordinal] = op === "add" ? 1 : 0;
    const steps = [...(this.wanted.details.steps ?? []), step];
    return this.show(indicesOf(member), "lasso", { steps, keepPicks: true, imageName });
  }

  private ofImage(ordinals: Uint32Array): Uint32Array {
    if (this.image === null) return ordinals;
    const member = new Uint8Array(this.project.nObjects);
    for (const ordinal of this.image.objects) member[ordinal] = 1;
    return ordinals.filter((ordinal) => member[ordinal] === 1);
  }

  private inPolygon(polygon: Polygon): Uint32Array {
    const { plot, index } = this.project;
    if (plot === null || index === null || polygon.length < 3) return new Uint32Array(0);
    const fractions = new Float64Array(polygon.length * 2);
    polygon.forEach(([x, y], i) => {
      fractions[2 * i] = ((x - plot.bounds.x0) / plot.bounds.width) * 65535;
      fractions[2 * i + 1] = ((y - plot.bounds.y0) / plot.bounds.height) * 65535;
    });
    return index.inPolygon(fractions); // also what the filters hide: the lasso is still there when they are changed
  }

  /** Review by exception: unlabeled objects that the model gives this class, surest first, all picked. */
  async review(classValue: number): Promise<void> {
    if (!this.project.canLabel) {
      this.controller.labeling.sayWhyNotToLabel();
      return;
    }
    const member = new Uint8Array(this.project.nObjects);
    let n = 0;
    for (let i = 0; i < member.length; i++) {
      if (this.project.predictions[i] === classValue && this.labels.shown[i] === 0) {
        member[i] = 1;
        n++;
      }
    }
    const name = this.project.classOf(classValue)?.name ?? String(classValue);
    if (n === 0) {
      this.notify({ text: `No unlabeled object is predicted as ${name}.`, tone: "plain", topic: "hint" });
      return;
    }
    this.order = "confidence";
    this.emit("order");
    await this.show(indicesOf(member), "review", { reviewClass: classValue, pickAll: true });
  }

  selectOrdinals(ordinals: Iterable<number>): Promise<void> {
    return this.show(Uint32Array.from(ordinals).sort(), "script");
  }

  /** A sample: its patches in the order in which they were drawn, whatever the filters say. */
  showSample(ordinals: Uint32Array): void {
    void this.show(ordinals, "sample", { isOrderGiven: true });
  }

  show(
    base: Uint32Array,
    source: SelectionSource,
    { isOrderGiven = false, ...details }: RegionDetails & { readonly isOrderGiven?: boolean } = {},
  ): Promise<void> {
    this.stopAsking();
    this.forgetWaiting();
    this.wanted = { base, source, details, isOrderGiven };
    if (source !== "lasso") this.image = null;
    if (this.selection.source === "review" && source !== "review") this.order = this.chosenOrder;
    return this.arrange();
  }

  /** Put the region that was asked for last into the grid: what the filters let through now, in its order. */
  private async arrange(): Promise<void> {
    const { base, source } = this.wanted;
    const { hidden } = this.project;
    const visible =
      this.filters.active && !UNFILTERED.has(source) ? base.filter((ordinal) => hidden[ordinal] === 0) : base;
    const asked = ++this.asked;
    this.isArranged = false;
    const put = (ordinals: Uint32Array) => {
      this.isArranged = true;
      this.seen.clear();
      this.lookUntil = 0;
      this.sortedAnew();
      this.selection.setRegion(ordinals, source, this.wanted.details);
      const waiting = this.afterArranging;
      this.afterArranging = [];
      for (const go of waiting) go();
    };
    const ordered = this.sorted(visible);
    if (ordered instanceof Uint32Array) {
      put(ordered);
      return;
    }
    const patience = new Promise<null>((resolve) => setTimeout(() => resolve(null), ORDER_PATIENCE_MS));
    const first = await Promise.race([ordered, patience]);
    if (asked !== this.asked) return;
    put(first ?? this.locally(visible, "image"));
    if (first === null) {
      const late = await ordered;
      if (late !== null && asked === this.asked && late.length === this.selection.size) this.takeLateOrder(late);
    }
  }

  /** The order came after the patches were on the screen: whoever is at work there keeps what has been seen in its place. */
  private takeLateOrder(late: Uint32Array): void {
    const { selection } = this;
    if (!this.isAtWork) {
      selection.reorder(late);
      return;
    }
    const kept = selection.order.subarray(0, this.shownTo);
    const isKept = new Set(kept);
    selection.reorderRest(Uint32Array.from([...kept, ...late.filter((ordinal) => !isKept.has(ordinal))]));
  }

  /** Whether somebody has done something with these patches, or looked further: they then stay where they are. */
  private get isAtWork(): boolean {
    return this.selection.pickedCount > 0 || this.selection.cursorByKeyboard || this.wasGoneThrough;
  }

  /** Do it to what was asked for last: at once, or when that is on the screen, some tenths of a second later. A key about a region
   * is not for the one before it. Where something else is asked for in between, it is not done. */
  whenArranged(go: () => void): void {
    if (this.isArranged) go();
    else this.afterArranging.push(go);
  }

  /** Gestures that wait for the region are not meant any more. Returns whether there were some. */
  forgetWaiting(): boolean {
    const some = this.afterArranging.length > 0;
    this.afterArranging = [];
    return some;
  }

  /** There are more objects: what shows all of them, or will, goes on with those. */
  grow(): void {
    if (this.wanted.source !== "all") return;
    const { base, details } = this.wanted;
    this.wanted = { ...this.wanted, base: ordinalsUpTo(this.project.nObjects) };
    if (this.isArranged && this.isAtWork) {
      const added = ordinalsUpTo(this.project.nObjects, base.length);
      const visible = this.filters.active ? added.filter((ordinal) => this.project.hidden[ordinal] === 0) : added;
      this.selection.reorderRest(Uint32Array.from([...this.selection.order, ...visible]));
      return;
    }
    const keepPicks = this.isArranged || details.keepPicks === true;
    this.wanted = { ...this.wanted, details: { ...details, keepPicks } };
    void this.arrange();
  }

  /** There are newer predictions: filters and what was not on the screen yet follow them. */
  predictionsChanged(): void {
    this.updateHidden();
    this.sortRest();
    this.fillIfEmpty();
  }

  /** A grid with patches keeps them while they are worked on; an empty one shows what passes the filters now. */
  private fillIfEmpty(): void {
    if (this.selection.size === 0 && !UNFILTERED.has(this.wanted.source)) void this.arrange();
  }

  /** How many objects were found, whatever the filters let through. */
  get nWanted(): number {
    return this.wanted.base.length;
  }

  /** The points have got other places. `first`: they had none. */
  pointsMoved(first: boolean): void {
    this.updateHidden();
    if (first && this.wanted.source === "all" && this.selection.pickedCount === 0) {
      this.showAll();
    } else {
      // The objects stay selected; the outline that was drawn around their old places means nothing now.
      this.wanted = { ...this.wanted, details: { ...this.wanted.details, steps: [] } };
      this.selection.forgetSteps();
    }
  }

  /** The grid begins with the patch in this place. */
  beginWith(rank: number): void {
    this.firstRank = rank;
    this.emit("onward");
  }

  /** The grid begins with this patch, under the keyboard's ring, after a look. */
  bringUp(ordinal: number): void {
    this.selection.setCursor(this.selection.rankOf(ordinal), true);
    this.lookAnew();
    this.beginWith(this.selection.cursor);
  }

  /** A key that was meant for what was there a moment ago is not for what is there now. */
  lookAnew(): void {
    this.lookUntil = performance.now() + LOOK_MS;
  }

  /** Whether nobody can have looked yet at what was just brought onto the screen. */
  get isTooSoon(): boolean {
    return performance.now() < this.lookUntil;
  }

  /** While a lasso is drawn, the points under it stay where they are. */
  get isLassoing(): boolean {
    return this.afterLasso !== null;
  }

  beginLasso(): void {
    this.afterLasso = [];
  }

  /** Drawn or given up: points may move again, once whoever drew it has said what lies in it. */
  endLasso(): void {
    const waiting = this.afterLasso ?? [];
    this.afterLasso = null;
    for (const go of waiting) go();
  }

  /** Resolves when no lasso is being drawn. */
  lassoEnded(): Promise<void> {
    return new Promise((resolve) => {
      if (this.afterLasso === null) resolve();
      else this.afterLasso.push(resolve);
    });
  }

  /** A lasso or a rectangle is being drawn: what it will select is not known yet. */
  get isSelecting(): boolean {
    return this.isLassoing || this.selection.isDrawing;
  }

  /** Where what was asked for last comes from, whether it is on the screen yet or not; null while a search or a page is
   * on its way. */
  get wantedSource(): SelectionSource | null {
    return this.request === null ? this.wanted.source : null;
  }

  /** The answer that is to become the region, or null where it failed, which is said, or where something else was shown
   * in the meantime. */
  async ask<T>(what: string, send: (signal: AbortSignal) => Promise<T>, meanwhile: string): Promise<T | null> {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const signal = AbortSignal.any([request.signal, this.signal]);
    const late = setTimeout(() => {
      this.notify({ text: meanwhile, tone: "plain", topic: "search", durationMs: Number.POSITIVE_INFINITY });
    }, LATE_MS);
    try {
      return await send(signal);
    } catch (error) {
      if (!signal.aborted) {
        this.notify({ text: `${what} could not be loaded: ${messageOf(error)}`, tone: "danger", topic: "hint" });
      }
      return null;
    } finally {
      clearTimeout(late);
      if (this.request === request) this.request = null;
      // Given up, or there; a newer request speaks for itself.
      if (this.request === null) this.notices.dismissTopic("search");
    }
  }

  /** Give up a search or a page that is on its way. Returns whether there was one. */
  stopAsking(): boolean {
    const asked = this.request !== null;
    this.request?.abort();
    this.request = null;
    return asked;
  }

  /** How the selection came about, for the record of a gesture. */
  context(): SelectionContext {
    const { selection, filters } = this;
    const last = selection.steps.at(-1);
    return {
      source: selection.source === "all" && filters.active ? "filter" : selection.source,
      polygon: last?.points ?? [],
      polygons: selection.steps,
      filters: { mode: filters.mode, classes: [...filters.classes], min_confidence: filters.minConfidence / 255 },
      ...(this.image === null ? {} : { image: this.image.name }),
      order: this.orderFor(selection.size),
      shown: this.seen.count,
      seen: this.seen.count,
      size: selection.size,
      // A polygon on a layout that still runs belongs to no map.
      embedding: this.project.previewJob === null ? this.project.plotNumber : null,
      ...(selection.reviewClass === null ? {} : { review_class: selection.reviewClass }),
      ...(selection.proposal === null ? {} : { suggestion: aboutProposal(selection.proposal) }),
      ...(selection.query === null ? {} : { similar_to: aboutQuery(selection.query) }),
    };
  }

  // Its order ----------------------------------------------------------------------------------------------------------

  /** What the user last chose: a review has an order of its own, and gives this one back. */
  private get chosenOrder(): GridOrder {
    return GRID_ORDERS.find((order) => order === this.controller.preferences.order) ?? "similarity";
  }

  setOrder(order: GridOrder): void {
    this.order = order;
    this.wanted = { ...this.wanted, isOrderGiven: false };
    this.controller.savePreferences({ order });
    this.emit("order");
    void this.sort();
  }

  nextOrder(): void {
    if (this.selection.source === "sample") return;
    if (this.wanted.isOrderGiven) this.setOrder(this.order);
    else this.setOrder(GRID_ORDERS[(GRID_ORDERS.indexOf(this.order) + 1) % GRID_ORDERS.length]!);
  }

  /** The order that will really be used: similarity needs a map, and not too many objects. */
  orderFor(n: number): UsedOrder {
    if (this.wanted.isOrderGiven) return "given";
    if (this.order !== "similarity") return this.order;
    return this.project.plotNumber !== null && n <= SIMILARITY_LIMIT && n > 2 ? "similarity" : "image";
  }

  /** Sort the whole region by the newest predictions, from the top. */
  sortAgain(): void {
    void this.sort();
  }

  private async sort(): Promise<void> {
    if (!this.isArranged) {
      await this.arrange();
      return;
    }
    const asked = ++this.asked;
    const ordered = await this.sorted(this.selection.order);
    if (ordered !== null && asked === this.asked && ordered.length === this.selection.size) {
      this.sortedAnew();
      this.selection.reorder(ordered);
    }
  }

  /** After new predictions: what has been on the screen stays where the hand and the eye expect it, and what comes
   * after it, which nobody has seen, is put in the new order. */
  private sortRest(): void {
    const order = this.orderFor(this.selection.size);
    if (order !== "confidence" && order !== "uncertain") return;
    const { predictions, confidences } = this.project;
    const kept = Math.min(this.shownTo, this.selection.size);
    const next = this.selection.order.slice();
    next.set(this.locally(next.subarray(kept), order), kept);
    this.orderIsOld = !isOrdered(next.subarray(0, kept + 1), order, predictions, confidences);
    this.selection.reorderRest(next);
    this.emit("order");
  }

  private sortedAnew(): void {
    this.shownTo = 0;
    this.wasGoneThrough = false;
    this.orderIsOld = false;
    this.emit("order");
  }

  private sorted(ordinals: Uint32Array): Uint32Array | Promise<Uint32Array | null> {
    this.orderRequest?.abort();
    const order = this.orderFor(ordinals.length);
    if (order === "given") return ordinals;
    if (order !== "similarity") return this.locally(ordinals, order);
    const request = new AbortController();
    this.orderRequest = request;
    return fetchOrder(this.config.api, this.config.projectId, ordinals, order, {
      signal: AbortSignal.any([request.signal, this.signal]),
    }).catch(() => {
      // Labeling must go on without it: the order by image is always there.
      return request.signal.aborted ? null : this.locally(ordinals, "image");
    });
  }

  private locally(ordinals: Uint32Array, order: Exclude<GridOrder, "similarity">): Uint32Array {
    const { predictions, confidences } = this.project;
    const ordered = orderLocally(ordinals, order, predictions, confidences);
    const { reviewClass } = this.wanted.details;
    if (reviewClass == null || order !== "confidence") return ordered;
    // Surest of the class that is reviewed: what looks otherwise by now comes last.
    const isStill = (ordinal: number) => predictions[ordinal] === 0 || predictions[ordinal] === reviewClass;
    return Uint32Array.from([...ordered.filter(isStill), ...ordered.filter((ordinal) => !isStill(ordinal))]);
  }

  /** Patches that were drawn on the screen. @param upTo the tiles of the region, from the first, that have been in view */
  markSeen(ordinals: readonly number[], upTo: number): void {
    if (this.shownTo > 0 && upTo > this.shownTo) this.wasGoneThrough = true;
    this.shownTo = Math.max(this.shownTo, upTo);
    this.seen.mark(ordinals);
  }

  // Filters ------------------------------------------------------------------------------------------------------------

  /** The filters that make sense here. */
  get filterModes(): readonly FilterMode[] {
    return this.labels.hasUnseen ? FILTER_MODES : FILTER_MODES.filter((mode) => !SAMPLED_MODES.includes(mode));
  }

  nextFilter(): void {
    const modes = this.filterModes;
    this.filters.setMode(modes[(modes.indexOf(this.filters.mode) + 1) % modes.length]!);
  }

  private updateHidden(): void {
    if (this.project.hidden.length !== this.labels.n) this.project.hidden = new Uint8Array(this.labels.n);
    hiddenByFilters(
      this.filters,
      {
        labels: this.labels.shown,
        unseen: this.labels.unseen,
        predictions: this.project.predictions,
        confidences: this.project.confidences,
      },
      this.project.hidden,
    );
    this.project.hiddenChanged();
  }
}

const aboutProposal = ({ kind, title, group }: Proposal) => ({ kind, title, group });

const aboutQuery = ({ to }: SimilarQuery) =>
  "ordinals" in to ? { ordinals: [...to.ordinals.subarray(0, QUERY_RECORDED)] } : { picture_job: to.pictureJob };
