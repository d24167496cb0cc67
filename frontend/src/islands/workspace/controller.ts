import { HttpError } from "../../api/http";
import { cancelJob, fetchJob, startIteration } from "../../api/jobs";
import {
  fetchChanges,
  fetchLabels,
  type LabelAction,
  postAction,
  postRedo,
  postUndo,
  type SelectionSource,
} from "../../api/labels";
import { fetchImageNames, fetchImages, fetchOrder, fetchSimilar, postPicture } from "../../api/objects";
import { fetchPlot, fetchPredictions, fetchPreview, fetchState } from "../../api/projects";
import { fetchSuggestedPage, fetchSuggestions } from "../../api/suggestions";
import {
  type ActionResult,
  isActive,
  type Job,
  type LabelClass,
  type ProjectState,
  type Proposal,
} from "../../api/types";
import { ago, count, plural } from "../../lib/format";
import type { Polygon } from "../../lib/geometry";
import { SpatialIndex } from "../../lib/spatial-index";
import type { ProjectEvent } from "../../live/events";
import { ProjectSocket } from "../../live/socket";
import { ActionQueue } from "../../state/action-queue";
import { Emitter } from "../../state/emitter";
import {
  COLOR_MODES,
  type ColorMode,
  FILTER_MODES,
  type FilterMode,
  FilterStore,
  hiddenByFilters,
  SAMPLED_MODES,
} from "../../state/filters";
import { LabelsStore } from "../../state/labels";
import { type Notice, NoticeStore } from "../../state/notices";
import {
  GRID_ORDERS,
  type GridOrder,
  isOrdered,
  orderLocally,
  SIMILARITY_LIMIT,
  type UsedOrder,
} from "../../state/order";
import { ProjectStore } from "../../state/project";
import {
  type LassoOp,
  type LassoStep,
  type RegionDetails,
  SelectionStore,
  type SimilarQuery,
} from "../../state/selection";
import { SuggestionStore } from "../../state/suggestions";
import { ViewportStore } from "../../state/viewport";
import { loadPreferences, type Preferences, savePreferences } from "./preferences";
import { Sampling } from "./sampling";

/** Regions that are made for a purpose: a filter of the map must not take something out of them. */
const UNFILTERED: ReadonlySet<SelectionSource> = new Set(["review", "suggested", "undone", "sample"]);

/** Pages to confirm and others that are proposed: of these, what was not on the screen is not labeled. */
const PAGES: ReadonlySet<SelectionSource> = new Set(["review", "suggested"]);

/** After the next patches of a page were brought onto the screen, a key for the ones before is not for them. */
const LOOK_MS = 300;
/** So many labels are replaced or removed by a second press only, within so long. */
const MANY_REPLACED = 100;
const ASKED_FOR_MS = 8_000;

/** Of a gesture that was made longer ago an undo says when: it is none of this sitting's. */
const OLD_GESTURE_MS = 15 * 60_000;

interface AskedRegion {
  readonly base: Uint32Array;
  readonly source: SelectionSource;
  readonly details: RegionDetails;
  /** Whether it stands in the order that it came in. */
  readonly isOrderGiven: boolean;
}

export interface WorkspaceConfig {
  readonly api: string;
  readonly projectId: string;
  readonly projectName: string;
  readonly userId: string;
  readonly userName: string;
  readonly homeUrl: string;
  readonly projectUrl: string;
  readonly imagesUrl: string;
  readonly jobsUrl: string;
}

/** How long the grid waits for the server's order before it shows its own. */
const ORDER_PATIENCE_MS = 400;
const POLL_MS = 15_000;
/** What to look at next is asked again when labels and predictions have been still for so long. */
const SETTLED_MS = 400;
const SIMILAR_FIRST = 300;
const SIMILAR_MOST = 5000;
const PICTURE_POLL_MS = 400;
const PICTURE_PATIENCE_MS = 60_000;
/** An answer that takes longer is said to be on its way. */
const LATE_MS = 400;
/** So many of the objects that were searched with are kept in the record. */
const QUERY_RECORDED = 100;

interface NextPage {
  readonly proposal: Proposal;
  readonly page: Uint32Array;
  /** So many of its kind were passed over before. */
  readonly nPassed: number;
  /** What was recommended, where all of that was passed over. */
  readonly instead: Proposal | undefined;
}

/** Everything the labeling screen can do, without a pixel of it: loads, listens, labels. The views only call this. */
export class WorkspaceController extends Emitter<"order" | "tool" | "seen" | "outline" | "onward"> {
  readonly project = new ProjectStore();
  readonly labels = new LabelsStore();
  readonly selection = new SelectionStore();
  readonly filters = new FilterStore();
  readonly viewport = new ViewportStore();
  readonly suggestions = new SuggestionStore();
  readonly queue = new ActionQueue();
  readonly notices = new NoticeStore();
  readonly preferences: Preferences = loadPreferences();
  readonly sampling: Sampling;
  order: GridOrder = "similarity";
  tool: "lasso" | "pan" = "lasso";
  /** The place in the region that the grid was last told to begin with. */
  firstRank = 0;
  /** While a lasso is drawn, the points under it stay where they are. */
  isLassoing = false;
  /** Whether the predictions are newer than the order of the patches that have been on the screen. */
  orderIsOld = false;
  /** (n_objects) 1 = its patch was on the screen since the region was made. */
  seen: Uint8Array = new Uint8Array(0);
  seenCount = 0;
  /** The time of `performance.now()` until which a key is not for what was just brought onto the screen. */
  private lookUntil = 0;

  /** So many tiles, from the first, have been on the screen since the region was sorted. */
  private shownTo = 0;
  /** The region that was asked for last, before the filters: the selection's own follows when its order is known. */
  private region: AskedRegion = { base: new Uint32Array(0), source: "all", details: {}, isOrderGiven: false };
  private orderRequest: AbortController | null = null;
  /** A search or a suggestion whose answer would become the region. */
  private regionRequest: AbortController | null = null;
  /** Counts the regions and orders that were asked for: only the answer to the last one is shown. */
  private asked = 0;
  /** Whether the selection is `region` already. */
  private regionIsShown = true;
  private suggestionRequest: AbortController | null = null;
  /** What was asked about before it is done: how many labels it would cost, and when. */
  private costly: { readonly n: number; readonly classValue: number | null; readonly at: number } | undefined =
    undefined;
  private suggestionTimer: number | undefined;
  private renewal: Promise<void> = Promise.resolve();
  private socket: ProjectSocket | null = null;
  private readonly lifetime = new AbortController();
  /** The newest revision of the labels that the server has told of. */
  private announcedRevision = 0;
  private syncing: Promise<void> | null = null;
  private syncAgain = false;
  private isStarting = false;
  private loadingEmbedding = -1;
  private loadingPreview = false;
  private loadingPredictions: Promise<void> | null = null;
  private colorChosen = false;
  private readonly pollTimer: number;

  constructor(readonly config: WorkspaceConfig) {
    super();
    const { color } = this.preferences;
    this.order = this.chosenOrder;
    if ((COLOR_MODES as readonly string[]).includes(color)) {
      this.filters.color = color as ColorMode;
      this.colorChosen = true;
    }
    this.labels.on("labels", () => this.updateHidden());
    this.sampling = new Sampling(this);
    this.selection.on(["picks", "cursor"], () => {
      if (this.selection.pickedCount > 0 || this.selection.cursorByKeyboard) this.notices.dismissTopic("hint");
    });
    this.filters.on("filters", () => {
      this.updateHidden();
      const { source, details } = this.region;
      if (UNFILTERED.has(source)) return;
      const keepPicks = this.regionIsShown || details.keepPicks === true;
      this.region = { ...this.region, details: { ...details, keepPicks } };
      void this.arrangeRegion();
    });
    this.queue.on("status", () => this.takeAnnounced());
    this.labels.on("labels", () => this.ageSuggestions());
    this.project.on(["predictions", "objects"], () => this.ageSuggestions());
    this.project.on("embedding", () => this.ageSuggestions(true));
    this.filters.on("colors", () => {
      if (this.filters.color === "image") void this.loadImages();
    });
    document.addEventListener("visibilitychange", this.cameBack);
    this.pollTimer = window.setInterval(this.pollWithoutSocket, POLL_MS);
    window.addEventListener("online", this.cameOnline);
    window.addEventListener("beforeunload", this.warnBeforeLeaving);
  }

  destroy(): void {
    this.lifetime.abort();
    window.clearTimeout(this.suggestionTimer);
    this.sampling.destroy();
    this.socket?.close();
    window.clearInterval(this.pollTimer);
    document.removeEventListener("visibilitychange", this.cameBack);
    window.removeEventListener("online", this.cameOnline);
    window.removeEventListener("beforeunload", this.warnBeforeLeaving);
  }

  // Loading ----------------------------------------------------------------------------------------------------------

  async start(): Promise<void> {
    this.project.setStatus("loading");
    try {
      const state = await fetchState(this.config.api, this.config.projectId, { signal: this.lifetime.signal });
      this.listen();
      this.project.applyState(state);
      const labels = await fetchLabels(this.config.api, state.label_set.id, { signal: this.lifetime.signal });
      this.resizeTo(Math.max(state.project.n_objects, labels.classes.length));
      this.labels.load(labels, this.project.nObjects);
      this.project.setStatus("ready");
      void this.renewSuggestions();
      if (state.embedding !== null) {
        await Promise.all([this.loadEmbedding(state.embedding.number), this.syncPredictions()]);
      } else this.showAll();
      if (this.filters.color === "image") await this.loadImages();
    } catch (error) {
      if (this.lifetime.signal.aborted) return;
      this.project.setStatus("failed", messageOf(error));
    }
  }

  private listen(): void {
    this.socket ??= new ProjectSocket({
      projectId: this.config.projectId,
      onEvent: (event) => this.handle(event),
      onStatus: (status) => this.project.setConnection(status),
      onConnected: () => {
        // The server is there again: what waits to be saved need not wait its turn.
        this.queue.retryNow();
        void this.catchUp();
      },
    });
  }

  /** Ask for the state and fetch what has changed: after a lost connection, and when in doubt. */
  async catchUp(): Promise<void> {
    if (this.project.status !== "ready") return;
    try {
      const state = await fetchState(this.config.api, this.config.projectId, { signal: this.lifetime.signal });
      await this.applyState(state);
    } catch (error) {
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not catch up:", messageOf(error));
    }
  }

  private async applyState(state: ProjectState): Promise<void> {
    this.project.applyState(state);
    this.resizeTo(state.project.n_objects);
    if (state.label_set.revision > this.labels.revision) await this.syncLabels();
    const predictions = this.syncPredictions();
    if (state.embedding !== null && state.embedding.number > (this.project.plotNumber ?? -1)) {
      await this.loadEmbedding(state.embedding.number);
    }
    // The end of a layout may have been missed.
    const { previewJob } = this.project;
    if (previewJob !== null && !state.jobs.some((job) => job.id === previewJob && isActive(job))) this.endPreview();
    await predictions;
  }

  private resizeTo(nObjects: number): void {
    const grew = nObjects > this.labels.n && this.labels.n > 0;
    this.project.setNObjects(nObjects);
    this.labels.resize(nObjects);
    this.selection.resize(nObjects);
    if (this.seen.length !== nObjects) {
      const seen = new Uint8Array(nObjects);
      seen.set(this.seen.subarray(0, nObjects));
      this.seen = seen;
    }
    if (grew && this.region.source === "all") {
      // What is on its way goes on.
      this.region = { ...this.region, base: this.everything() };
      void this.arrangeRegion();
    }
  }

  private async loadEmbedding(number: number): Promise<void> {
    if (this.loadingEmbedding >= number) return;
    this.loadingEmbedding = number;
    try {
      const plot = await fetchPlot(this.config.api, this.config.projectId, number, { signal: this.lifetime.signal });
      if (this.loadingEmbedding !== number) return;
      if (plot.n > this.project.nObjects) this.resizeTo(plot.n);
      // A layout that still ran had no order by likeness.
      const first = this.project.plotNumber === null;
      this.project.setPlot(number, plot, new SpatialIndex(plot.positions));
      this.notices.dismissTopic("map");
      if (!first) {
        const version = this.project.embedding?.model_version ?? number;
        this.notify({ text: `The map was drawn anew, by model v${version}.`, tone: "success", topic: "map" });
      }
      this.chooseColor();
      this.pointsMoved(first);
    } catch (error) {
      if (this.loadingEmbedding !== number) return;
      this.loadingEmbedding = -1;
      if (this.lifetime.signal.aborted) return;
      this.notify({
        text: `The map could not be loaded: ${messageOf(error)}`,
        tone: "danger",
        topic: "map",
        action: { text: "Try again", run: () => void this.loadEmbedding(number) },
      });
      if (this.project.plot === null) this.showAll();
    }
  }

  private pointsMoved(first: boolean): void {
    this.updateHidden();
    if (first && this.region.source === "all" && this.selection.pickedCount === 0) {
      this.showAll();
    } else {
      // The objects stay selected; the outline that was drawn around their old places means nothing now.
      this.region = { ...this.region, details: { ...this.region.details, steps: [] } };
      this.selection.forgetSteps();
    }
  }

  /** Let the points glide to where a layout has brought them. What comes while one is fetched is skipped: the next is
   * never far, and the last is the map. */
  private async loadPreview(job: number): Promise<void> {
    const { project } = this;
    if (this.loadingPreview || this.isLassoing || document.visibilityState === "hidden") return;
    this.loadingPreview = true;
    const map = project.plotNumber;
    try {
      const plot = await fetchPreview(this.config.api, this.config.projectId, job, { signal: this.lifetime.signal });
      const isOld = project.plotNumber !== map || !project.jobs.some((known) => known.id === job && isActive(known));
      // A layout that knows fewer objects than the map would take places away.
      if (isOld || this.isLassoing || plot.n < (project.plot?.n ?? 0) || plot.n > project.nObjects) return;
      const first = project.plot === null;
      project.setPreview(job, plot, new SpatialIndex(plot.positions));
      this.chooseColor();
      this.pointsMoved(first);
    } catch (error) {
      // Without previews the map comes all the same.
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not fetch a preview:", messageOf(error));
    } finally {
      this.loadingPreview = false;
    }
  }

  /** The layout ended without a map. */
  private endPreview(): void {
    this.project.dropPreview();
    this.pointsMoved(false);
  }

  /** Fetch the predictions that hold, until they are those that the server spoke of last. */
  private syncPredictions(): Promise<void> {
    const rounds = async () => {
      while ((this.project.predictionsInfo?.revision ?? -1) > this.project.predictionsRevision) {
        if (!(await this.fetchPredictions())) break;
      }
    };
    // Cleared by `finally`, which comes after the assignment also where there is nothing to fetch.
    this.loadingPredictions ??= rounds().finally(() => {
      this.loadingPredictions = null;
    });
    return this.loadingPredictions;
  }

  private async fetchPredictions(): Promise<boolean> {
    try {
      const buffer = await fetchPredictions(this.config.api, this.config.projectId, { signal: this.lifetime.signal });
      if (buffer.revision <= this.project.predictionsRevision) return false;
      this.project.setPredictions(buffer);
      this.chooseColor();
      this.updateHidden();
      this.sortRest();
      // A grid with patches keeps them while they are worked on; an empty one shows what passes now.
      if (this.selection.size === 0 && !UNFILTERED.has(this.region.source)) void this.arrangeRegion();
      return true;
    } catch (error) {
      // The next event, or the next look at the state, asks again.
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not fetch predictions:", messageOf(error));
      return false;
    }
  }

  private async loadImages(): Promise<void> {
    if (this.project.images !== null || this.project.nObjects === 0) return;
    try {
      const { api, projectId } = this.config;
      const options = { signal: this.lifetime.signal };
      const [images, names] = await Promise.all([
        fetchImages(api, projectId, options),
        fetchImageNames(api, projectId, options),
      ]);
      this.project.setImages(images, names);
    } catch (error) {
      if (!this.lifetime.signal.aborted) this.notify({ text: messageOf(error), tone: "danger", topic: "map" });
    }
  }

  private handle(event: ProjectEvent): void {
    switch (event.type) {
      case "job.progress":
        this.project.setJob(event.job);
        return;
      case "job.finished": {
        const known = this.project.jobs.find((job) => job.id === event.job.id);
        this.project.setJob(event.job);
        if (known !== undefined && isActive(known)) this.tellOutcome(event.job);
        if (event.job.id === this.project.previewJob) {
          if (event.job.state === "finished") void this.catchUp();
          else this.endPreview();
        }
        return;
      }
      case "embedding.ready":
        if (event.number > (this.project.plotNumber ?? -1)) void this.catchUp();
        return;
      case "embedding.preview":
        void this.loadPreview(event.job);
        return;
      case "predictions.ready":
        if (event.revision > (this.project.predictionsInfo?.revision ?? -1)) {
          this.project.tellPredictions(event);
          void this.syncPredictions();
        }
        return;
      case "labels.changed":
        if (event.label_set === this.project.labelSet?.id) {
          this.announcedRevision = event.revision;
          this.takeAnnounced();
        }
        return;
      case "presence":
        this.project.setOthers(event.users.filter((u) => String(u.id) !== this.config.userId).map((u) => u.name));
        return;
      case "objects.added":
        this.resizeTo(event.n_objects);
        return;
      case "project.changed":
        void this.catchUp();
        return;
      default:
        event satisfies never;
    }
  }

  /** Fetches labels that are known to be there. While own actions are on their way their answers may bring them. */
  private takeAnnounced(): void {
    if (this.queue.length === 0 && this.announcedRevision > this.labels.revision) void this.syncLabels();
  }

  private tellOutcome(job: Job): void {
    if (job.state === "failed") {
      this.notify({
        text: `${job.title} failed: ${job.error ?? job.message ?? "no reason was given"}`,
        tone: "danger",
        topic: "job",
      });
    } else if (job.state === "cancelled") {
      this.notify({ text: `${job.title} cancelled`, tone: "plain", topic: "job" });
    }
  }

  // The region ---------------------------------------------------------------------------------------------------------

  showAll(): void {
    void this.showRegion(this.everything(), "all", {});
  }

  private everything(): Uint32Array {
    return Uint32Array.from({ length: this.project.nObjects }, (_, ordinal) => ordinal);
  }

  /** Objects that have no place on the newest map yet. */
  showUnplaced(): void {
    const from = this.project.plot?.n ?? 0;
    const ordinals = new Uint32Array(this.project.nObjects - from);
    for (let i = 0; i < ordinals.length; i++) ordinals[i] = from + i;
    void this.showRegion(ordinals, "unplaced", {});
  }

  /** @param polygon in data coordinates of the current map */
  lasso(polygon: Polygon, op: LassoOp): Promise<void> {
    const caught = this.inPolygon(polygon);
    const step: LassoStep = { op, points: polygon };
    if (op === "new" || (op === "add" && this.region.source !== "lasso")) {
      return this.showRegion(caught, "lasso", { steps: [{ ...step, op: "new" }] });
    }
    const member = new Uint8Array(this.project.nObjects);
    for (const ordinal of this.region.base) member[ordinal] = 1;
    for (const ordinal of caught) member[ordinal] = op === "add" ? 1 : 0;
    const steps = [...(this.region.details.steps ?? []), step];
    return this.showRegion(indicesOf(member), "lasso", { steps, keepPicks: true });
  }

  /** Review by exception: unlabeled objects that the model gives this class, surest first, all picked. */
  async review(classValue: number): Promise<void> {
    if (!this.project.canLabel) {
      this.sayWhyNotToLabel();
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
    await this.showRegion(indicesOf(member), "review", { reviewClass: classValue, pickAll: true });
  }

  selectOrdinals(ordinals: Iterable<number>): Promise<void> {
    return this.showRegion(Uint32Array.from(ordinals).sort(), "script", {});
  }

  /** What the user last chose: a review has an order of its own, and gives this one back. */
  private get chosenOrder(): GridOrder {
    return GRID_ORDERS.find((order) => order === this.preferences.order) ?? "similarity";
  }

  setOrder(order: GridOrder): void {
    this.order = order;
    this.region = { ...this.region, isOrderGiven: false };
    this.savePreferences({ order });
    this.emit("order");
    void this.sortRegion();
  }

  nextOrder(): void {
    if (this.selection.source === "sample") return;
    if (this.region.isOrderGiven) this.setOrder(this.order);
    else this.setOrder(GRID_ORDERS[(GRID_ORDERS.indexOf(this.order) + 1) % GRID_ORDERS.length]!);
  }

  /** The filters that make sense here. */
  get filterModes(): readonly FilterMode[] {
    return this.labels.hasUnseen ? FILTER_MODES : FILTER_MODES.filter((mode) => !SAMPLED_MODES.includes(mode));
  }

  nextFilter(): void {
    const modes = this.filterModes;
    this.filters.setMode(modes[(modes.indexOf(this.filters.mode) + 1) % modes.length]!);
  }

  setColor(color: ColorMode): void {
    this.colorChosen = true;
    // Discordance is looked for now and then; a project without labels would open all in gray.
    if (color !== "discordance") this.savePreferences({ color });
    this.filters.setColor(color);
  }

  nextColor(): void {
    this.setColor(COLOR_MODES[(COLOR_MODES.indexOf(this.filters.color) + 1) % COLOR_MODES.length]!);
  }

  /** Until the user chooses: predictions once there are any, labels before, as nothing else would show a color. */
  private chooseColor(): void {
    if (this.colorChosen) return;
    const color: ColorMode = this.project.predictions.some((value) => value !== 0) ? "prediction" : "label";
    if (color !== this.filters.color) this.filters.setColor(color);
  }

  setTool(tool: "lasso" | "pan"): void {
    this.tool = tool;
    this.emit("tool");
  }

  toggleOutline(): void {
    this.savePreferences({ outline: !this.preferences.outline });
    this.emit("outline");
  }

  savePreferences(changes: Partial<Preferences>): void {
    Object.assign(this.preferences, changes);
    savePreferences(this.preferences);
  }

  /** Sort the whole region by the newest predictions, from the top. */
  sortAgain(): void {
    void this.sortRegion();
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
    this.orderIsOld = false;
    this.emit("order");
  }

  /** Patches that were drawn on the screen: only those may be called seen in the record. @param upTo the tiles of the
   * region, from the first, that have been in view */
  markSeen(ordinals: readonly number[], upTo: number): void {
    this.shownTo = Math.max(this.shownTo, upTo);
    const before = this.seenCount;
    for (const ordinal of ordinals) {
      if (this.seen[ordinal] === 0) {
        this.seen[ordinal] = 1;
        this.seenCount++;
      }
    }
    if (this.seenCount > before) this.emit("seen");
  }

  private inPolygon(polygon: Polygon): Uint32Array {
    const { plot, index } = this.project;
    if (plot === null || index === null || polygon.length < 3) return new Uint32Array(0);
    const fractions = new Float64Array(polygon.length * 2);
    polygon.forEach(([x, y], i) => {
      fractions[2 * i] = ((x - plot.bounds.x0) / plot.bounds.width) * 65535;
      fractions[2 * i + 1] = ((y - plot.bounds.y0) / plot.bounds.height) * 65535;
    });
    return index.inPolygon(fractions, this.project.hidden);
  }

  /** A sample: its patches in the order in which they were drawn, whatever the filters say. */
  showSample(ordinals: Uint32Array): void {
    void this.showRegion(ordinals, "sample", { isOrderGiven: true });
  }

  /** The grid begins with the patch in this place. */
  beginWith(rank: number): void {
    this.firstRank = rank;
    this.emit("onward");
  }

  /** A lasso or a rectangle is being drawn: what it will select is not known yet. */
  get isSelecting(): boolean {
    return this.isLassoing || this.selection.isDrawing;
  }

  /** Where what was asked for last comes from, whether it is on the screen yet or not; null while a search or a page is
   * on its way. */
  get askedSource(): SelectionSource | null {
    return this.regionRequest === null ? this.region.source : null;
  }

  private showRegion(
    base: Uint32Array,
    source: SelectionSource,
    { isOrderGiven = false, ...details }: RegionDetails & { readonly isOrderGiven?: boolean },
  ): Promise<void> {
    this.stopAsking();
    this.region = { base, source, details, isOrderGiven };
    if (this.selection.source === "review" && source !== "review") this.order = this.chosenOrder;
    return this.arrangeRegion();
  }

  /** Put the region that was asked for last into the grid: what the filters let through now, in its order. */
  private async arrangeRegion(): Promise<void> {
    const { base, source } = this.region;
    const { hidden } = this.project;
    const visible =
      this.filters.active && !UNFILTERED.has(source) ? base.filter((ordinal) => hidden[ordinal] === 0) : base;
    const asked = ++this.asked;
    this.regionIsShown = false;
    const show = (ordinals: Uint32Array) => {
      this.regionIsShown = true;
      this.seen.fill(0);
      this.seenCount = 0;
      this.lookUntil = 0;
      this.sortedAnew();
      this.selection.setRegion(ordinals, source, this.region.details);
    };
    const ordered = this.sorted(visible);
    if (ordered instanceof Uint32Array) {
      show(ordered);
      return;
    }
    const patience = new Promise<null>((resolve) => setTimeout(() => resolve(null), ORDER_PATIENCE_MS));
    const first = await Promise.race([ordered, patience]);
    if (asked !== this.asked) return;
    show(first ?? this.locally(visible, "image"));
    if (first === null) {
      const late = await ordered;
      if (late !== null && asked === this.asked && late.length === this.selection.size) this.selection.reorder(late);
    }
  }

  private async sortRegion(): Promise<void> {
    if (!this.regionIsShown) {
      await this.arrangeRegion();
      return;
    }
    const asked = ++this.asked;
    const ordered = await this.sorted(this.selection.order);
    if (ordered !== null && asked === this.asked && ordered.length === this.selection.size) {
      this.sortedAnew();
      this.selection.reorder(ordered);
    }
  }

  /** The order that will really be used: similarity needs a map, and not too many objects. */
  orderFor(n: number): UsedOrder {
    if (this.region.isOrderGiven) return "given";
    if (this.order !== "similarity") return this.order;
    return this.project.plotNumber !== null && n <= SIMILARITY_LIMIT && n > 2 ? "similarity" : "image";
  }

  private sorted(ordinals: Uint32Array): Uint32Array | Promise<Uint32Array | null> {
    this.orderRequest?.abort();
    const order = this.orderFor(ordinals.length);
    if (order === "given") return ordinals;
    if (order !== "similarity") return this.locally(ordinals, order);
    const request = new AbortController();
    this.orderRequest = request;
    return fetchOrder(this.config.api, this.config.projectId, ordinals, order, { signal: request.signal }).catch(() => {
      // Labeling must go on without it: the order by image is always there.
      return request.signal.aborted ? null : this.locally(ordinals, "image");
    });
  }

  private locally(ordinals: Uint32Array, order: Exclude<GridOrder, "similarity">): Uint32Array {
    const { predictions, confidences } = this.project;
    const ordered = orderLocally(ordinals, order, predictions, confidences);
    const { reviewClass } = this.region.details;
    if (reviewClass == null || order !== "confidence") return ordered;
    // Surest of the class that is reviewed: what looks otherwise by now comes last.
    const isStill = (ordinal: number) => predictions[ordinal] === 0 || predictions[ordinal] === reviewClass;
    return Uint32Array.from([...ordered.filter(isStill), ...ordered.filter((ordinal) => !isStill(ordinal))]);
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

  // Labeling ---------------------------------------------------------------------------------------------------------

  private notify(notice: Notice): void {
    this.notices.show(notice);
  }

  /** The class that a digit stands for, or undefined, which is said. */
  classForKey(digit: string): LabelClass | undefined {
    const labelClass = this.project.classes.find((c) => c.key === digit);
    if (labelClass === undefined && this.project.status === "ready") {
      this.notify({ text: `There is no class ${digit}.`, tone: "plain", topic: "hint" });
    }
    return labelClass;
  }

  /** Label what is picked in the grid, or the tile that the keyboard stands on. null removes the labels. */
  label(classValue: number | null): void {
    if (!this.project.canLabel) {
      this.sayWhyNotToLabel();
      return;
    }
    if (this.waitsForSample()) return;
    const { selection } = this;
    const isPagesOwn = classValue !== null && classValue === selection.reviewClass;
    if (!isPagesOwn && this.labelTakenOut(classValue)) return;
    let more: Uint32Array = new Uint32Array(0);
    let leftOut: Uint32Array = new Uint32Array(0);
    if (PAGES.has(selection.source) && !selection.held && selection.pickedCount > 0) {
      if (performance.now() < this.lookUntil) return;
      leftOut = this.takenOut();
      // What is confirmed has been looked at, and nobody has said what it is meanwhile.
      const unseen = selection.picks().filter((ordinal) => this.seen[ordinal] === 0);
      more = this.withoutLabel(unseen);
      if (unseen.length === selection.pickedCount) {
        this.notify({ text: "None of these patches was on the screen yet.", tone: "plain", topic: "hint" });
        return;
      }
      selection.keepPicked((ordinal) => this.seen[ordinal] === 1 && !(isPagesOwn && this.labels.shown[ordinal] !== 0));
      if (selection.pickedCount === 0) {
        if (more.length > 0) this.goOnWith(more);
        else this.sayAllLabeled();
        return;
      }
    }
    let ordinals = selection.picks();
    const atCursor = ordinals.length === 0 && selection.cursor >= 0 && selection.cursorByKeyboard;
    if (atCursor) ordinals = Uint32Array.of(selection.order[selection.cursor]!);
    if (ordinals.length === 0) {
      this.sayWhyNotToLabel();
      return;
    }
    const onlyUnlabeled = PAGES.has(selection.source) && !selection.held && isPagesOwn;
    // What was labeled a moment ago may be corrected by one key.
    if (!onlyUnlabeled && !selection.held && this.asksAgain(ordinals, classValue)) return;
    this.labelOrdinals(ordinals, classValue, {
      onlyUnlabeled,
      leftOut: isPagesOwn ? leftOut : undefined,
      more:
        more.length === 0
          ? ""
          : `; ${count(more.length)} ${isPagesOwn ? "more to look at" : "not on the screen yet, left as they are"}`,
    });
    // Another class may have been a slip of the finger: then the picks stay, to be corrected.
    if (more.length > 0 && isPagesOwn) {
      this.goOnWith(more);
      return;
    }
    // A wrong key is corrected by the right one; whatever is picked next starts anew.
    selection.hold();
    if (atCursor && selection.source === "suggested") this.goToNextUnlabeled();
  }

  /** Whether so many labels would be lost that one press is not enough: who selected all may have meant a single patch. */
  private asksAgain(ordinals: Uint32Array, classValue: number | null): boolean {
    const { shown } = this.labels;
    const n = ordinals.reduce((sum, o) => sum + Number(shown[o] !== 0 && shown[o] !== classValue), 0);
    const { costly } = this;
    this.costly = undefined;
    if (n < MANY_REPLACED) return false;
    const now = performance.now();
    if (costly?.n === n && costly.classValue === classValue && now - costly.at < ASKED_FOR_MS) return false;
    this.costly = { n, classValue, at: now };
    const name = classValue === null ? "" : (this.project.classOf(classValue)?.name ?? String(classValue));
    this.notify({
      text:
        classValue === null
          ? `${count(n)} labels would go. Once more removes them.`
          : `${count(n)} of these have another class. Once more labels them ${name} all the same.`,
      tone: "warning",
      topic: "hint",
      durationMs: ASKED_FOR_MS,
    });
    return true;
  }

  /** Of a page to confirm: what was on the screen, was taken out of it and has no label. Once the page is confirmed, that is
   * what was not. */
  private takenOut(): Uint32Array {
    const { selection } = this;
    if (!PAGES.has(selection.source) || selection.reviewClass === null || !selection.isOffered)
      return new Uint32Array(0);
    const out = selection.held ? selection.order : selection.leftOut;
    return this.withoutLabel(out).filter((ordinal) => this.seen[ordinal] === 1);
  }

  /** Another class than the page's is for those that were taken out of it, and the next one corrects that; the others wait to be
   * confirmed, or have been. A key that was meant for such must not label a whole page where there are none: who wants that
   * selects all. Returns false where the key is for what is picked. */
  private labelTakenOut(classValue: number | null): boolean {
    const { selection } = this;
    const open = classValue === null ? new Uint32Array(0) : this.takenOut();
    const ordinals = open.length > 0 ? open : selection.lastAnswered;
    if (ordinals.length === 0) {
      const nobodyPicked = PAGES.has(selection.source) && selection.isOffered && !selection.isAllChosen;
      if (classValue === null || !nobodyPicked) return false;
      const text = "Take the wrong ones out first, or select all with A.";
      this.notify({ text, tone: "plain", topic: "hint" });
      return true;
    }
    if (performance.now() < this.lookUntil) return true;
    this.labelOrdinals(ordinals, classValue, { onlyUnlabeled: open.length > 0 });
    selection.forgetLeftOut(ordinals);
    return true;
  }

  /** One key an object: after the label, the cursor goes on. */
  private goToNextUnlabeled(): void {
    const { selection, labels } = this;
    if (selection.proposal?.kind === "discordant") {
      selection.setCursor(Math.min(selection.cursor + 1, selection.size - 1), true);
      return;
    }
    const isOpen = (ordinal: number) => labels.shown[ordinal] === 0;
    const after = selection.order.subarray(selection.cursor + 1).findIndex(isOpen);
    const next = after >= 0 ? selection.cursor + 1 + after : selection.order.findIndex(isOpen);
    if (next >= 0) selection.setCursor(next, true);
  }

  /** Label what stays selected of a page as what it was shown for; where that was done, go on with what was not on the
   * screen yet. Returns whether this is such a page. */
  confirm(): boolean {
    const { reviewClass, pickedCount, source, order } = this.selection;
    if (this.sampling.isShown) {
      this.sampling.sayHowItStands();
      return true;
    }
    if (reviewClass === null) return false;
    if (this.waitsForSample()) return true;
    // What was undone waits to be confirmed again.
    if (this.selection.held && this.withoutLabel(this.selection.picks()).length > 0) this.selection.held = false;
    if (this.selection.held) {
      const open = this.withoutLabel(order);
      const more = open.filter((ordinal) => this.seen[ordinal] === 0);
      if (PAGES.has(source) && more.length > 0) this.goOnWith(more);
      else if (open.length === 0) this.sayAllLabeled();
      else {
        const left = `${plural(open.length, "patch", "patches")} left out here ${open.length === 1 ? "has" : "have"} no label.`;
        this.notify({ text: `${left} G goes on.`, tone: "plain", topic: "hint" });
      }
    } else if (pickedCount > 0) this.label(reviewClass);
    else if (this.withoutLabel(order).length === 0) this.sayAllLabeled();
    // Not the patch at the cursor: where nothing stays selected, it was just taken out.
    else this.sayWhyNotToLabel();
    return true;
  }

  /** How many of a page Enter would label now: what is picked, was on the screen and has no label. */
  get nToConfirm(): number {
    const { selection, labels } = this;
    if (!PAGES.has(selection.source) || selection.reviewClass === null || !this.project.canLabel) return 0;
    let n = 0;
    for (const ordinal of selection.order)
      n += Number(selection.picked[ordinal] === 1 && this.seen[ordinal] === 1 && labels.shown[ordinal] === 0);
    return n;
  }

  /** What a sample is drawn from stays as it is until it is there; who labels meanwhile is told. */
  private waitsForSample(): boolean {
    if (!this.sampling.isDrawing) return false;
    this.notify({ text: "The sample is being drawn. Nothing was labeled.", tone: "plain", topic: "hint" });
    return true;
  }

  private sayAllLabeled(): void {
    this.notify({ text: "All of these are labeled. G goes on.", tone: "plain", topic: "hint" });
  }

  private withoutLabel(ordinals: Uint32Array): Uint32Array {
    return ordinals.filter((ordinal) => this.labels.shown[ordinal] === 0);
  }

  /** Bring the next patches of a page onto the screen, all picked. */
  private goOnWith(ordinals: Uint32Array): void {
    this.selection.offer(ordinals);
    this.bringUp(ordinals[0]!);
  }

  /** The grid begins with this patch of a page. */
  private bringUp(ordinal: number): void {
    this.selection.setCursor(this.selection.rankOf(ordinal), true);
    this.lookAnew();
    this.beginWith(this.selection.cursor);
  }

  /** Whoever labels a selection by a key should know what it took the place of, and what lay beyond the edge of the grid. */
  private whatToKnow(ordinals: Uint32Array, nOtherwise: number): string {
    if (ordinals.length < 2) return "";
    const nUnseen = ordinals.reduce((sum, ordinal) => sum + Number(this.seen[ordinal] === 0), 0);
    return (
      (nOtherwise > 0 ? `; ${count(nOtherwise)} had another class` : "") +
      (nUnseen > 0 ? `. ${count(nUnseen)} of them ${nUnseen === 1 ? "was" : "were"} not on the screen` : "")
    );
  }

  sayWhyNotToLabel(): void {
    if (!this.project.canLabel) {
      this.notify({
        text: "You may look here, but not label: that takes a role such as rater in this project.",
        tone: "warning",
        topic: "access",
      });
      return;
    }
    if (this.sampling.isShown) {
      this.sampling.sayHowItStands();
      return;
    }
    const { size } = this.selection;
    this.notify({
      text:
        size === 0
          ? "Nothing is selected. Draw a lasso on the map first."
          : `Select patches in the grid first. A selects all ${count(size)}.`,
      tone: "plain",
      topic: "hint",
    });
  }

  /** `more`: what is said after what was done. `leftOut`: seen with these, and not of the class. */
  labelOrdinals(
    ordinals: Uint32Array,
    classValue: number | null,
    {
      onlyUnlabeled = false,
      more = "",
      leftOut = new Uint32Array(0),
    }: { readonly onlyUnlabeled?: boolean; readonly more?: string; readonly leftOut?: Uint32Array | undefined } = {},
  ): void {
    const labelSet = this.project.labelSet;
    if (labelSet === null) return;
    const action: LabelAction = {
      kind: classValue === null ? "remove" : "label",
      class_value: classValue,
      provenance: ordinals.length === 1 ? "single" : "bulk",
      only_unlabeled: onlyUnlabeled,
      selection: { ...this.selectionContext(), ...(leftOut.length > 0 ? { left_out: [...leftOut] } : {}) },
      client_key: newKey(),
    };
    const nToChange = ordinals.reduce((n, ordinal) => n + Number(this.labels.shown[ordinal] !== (classValue ?? 0)), 0);
    const nOtherwise = nToChange - this.withoutLabel(ordinals).length;
    const change = this.labels.propose(ordinals, classValue ?? 0);
    const revisionBefore = this.labels.revision;
    const name = classValue === null ? "" : (this.project.classOf(classValue)?.name ?? String(classValue));
    const done =
      classValue === null
        ? `Label removed from ${plural(nToChange, "object")}`
        : `${plural(nToChange, "object")} labeled ${name}` +
          (nToChange < ordinals.length ? `; ${count(ordinals.length - nToChange)} were so before` : "") +
          this.whatToKnow(ordinals, nOtherwise);
    this.notices.dismissTopic("hint");
    this.notify({
      text: done + more,
      tone: "success",
      topic: "labels",
      action: { text: "Undo", run: () => this.undo() },
    });
    this.queue.add<ActionResult>({
      clientKey: action.client_key,
      send: () => postAction(this.config.api, labelSet.id, action, ordinals),
      onSaved: (result) => {
        this.labels.confirm(change);
        const n = onlyUnlabeled ? ordinals.length - result.n_changed : 0;
        // Others' labels may have come in before this answer, which has painted over them.
        if (n > 0) this.labels.revision = Math.min(this.labels.revision, revisionBefore);
        this.applyResult(result);
        if (n > 0) {
          void this.syncLabels();
          this.notify({
            text: `${plural(n, "object")} labeled by somebody else meanwhile, left as they are`,
            tone: "warning",
            topic: "hint",
          });
        }
      },
      onRefused: (error) => {
        this.labels.reject(change);
        this.notices.dismissTopic("labels");
        this.notify({
          text: `Not saved, and taken back: ${messageOf(error)}`,
          tone: "danger",
          topic: "save",
          durationMs: 12_000,
        });
        void this.catchUp();
      },
    });
  }

  undo(): void {
    this.step("undo");
  }

  redo(): void {
    this.step("redo");
  }

  private step(direction: "undo" | "redo"): void {
    const labelSet = this.project.labelSet;
    if (labelSet === null || !this.project.canLabel) return;
    const entry = this.project[direction];
    if (entry === null && this.queue.length === 0) {
      this.notify({ text: `There is nothing to ${direction}.`, tone: "plain", topic: "hint" });
      return;
    }
    const clientKey = newKey();
    this.queue.add<ActionResult>({
      clientKey,
      send: () => {
        // Not sooner: the gestures before this one have been answered only now.
        if (this.sampling.isShown && this.sampling.isOlder(this.project[direction])) {
          const text = `What was labeled before this sample can not be ${direction === "undo" ? "undone" : "redone"} from within it. To take a mark back, click the patch again.`;
          return Promise.reject(new HttpError(409, text));
        }
        return (direction === "undo" ? postUndo : postRedo)(this.config.api, labelSet.id, clientKey);
      },
      onSaved: (result) => {
        this.project.setSession(result.session, result.undo, result.redo);
        const before = this.labels.shown.slice();
        this.notices.dismissTopic("hint");
        const notice = this.sayWhatChanged(direction, result);
        void this.syncLabels().then(() => {
          this.selection.afterRectangle(() => {
            this.offerUndone(before, direction);
            this.returnToUndone(before);
          });
          this.offerToShow(notice, result, before);
        });
      },
      onRefused: (error) => {
        const nothing = error instanceof HttpError && error.status === 409;
        this.notify({
          text: messageOf(error),
          tone: nothing ? "plain" : "danger",
          topic: nothing ? "hint" : "save",
        });
        void this.catchUp();
      },
    });
  }

  /** Which gesture it was, and how old. */
  private sayWhatChanged(direction: "undo" | "redo", result: ActionResult): Notice {
    const done = direction === "undo" ? result.redo : result.undo;
    const gesture = result.n_changed > 0 && done?.action_id === result.action_id ? done : null;
    const isOld = gesture !== null && Date.now() - Date.parse(gesture.at) > OLD_GESTURE_MS;
    const when = isOld ? `, ${ago(gesture.at, Date.now())}` : "";
    const skipped = result.n_skipped ?? 0;
    const left = skipped > 0 ? `; ${plural(skipped, "object")} changed by others since, left as they are` : "";
    const notice: Notice = {
      text: `${direction === "undo" ? "Undone" : "Redone"}: ${gesture?.text ?? plural(result.n_changed, "object")}${when}${left}`,
      tone: "plain",
      topic: "labels",
      action:
        direction === "undo" ? { text: "Redo", run: () => this.redo() } : { text: "Undo", run: () => this.undo() },
    };
    this.notify(notice);
    return notice;
  }

  /** Where none of the objects of an undo is in the grid, they can be shown; unless another gesture came since, or others'
   * changes came with it, which can not be told from its own. */
  private offerToShow(notice: Notice, result: ActionResult, before: Uint8Array): void {
    const { selection, labels } = this;
    const changed = indicesOf(before.map((value, ordinal) => Number(value !== labels.shown[ordinal])));
    const isElsewhere =
      changed.length === result.n_changed && changed.every((ordinal) => selection.rankOf(ordinal) < 0);
    if (changed.length === 0 || !isElsewhere || !this.notices.shown.includes(notice)) return;
    this.notify({ ...notice, action: { text: "Show", run: () => void this.showRegion(changed, "undone", {}) } });
  }

  /** What was undone of a page is looked at and confirmed again, before what else of it is open; what was redone is not
   * confirmed once more. */
  private offerUndone(before: Uint8Array, direction: "undo" | "redo"): void {
    const { selection } = this;
    if (!PAGES.has(selection.source) || selection.reviewClass === null) return;
    if (selection.held) {
      if (this.withoutLabel(selection.picks()).length === selection.pickedCount) selection.release();
      return;
    }
    selection.offerNoMore(
      selection.order.filter((ordinal) => before[ordinal] === 0 && this.labels.shown[ordinal] !== 0),
    );
    const undone = this.withoutLabel(selection.order.filter((ordinal) => before[ordinal] === selection.reviewClass));
    if (!selection.isOffered) return;
    if (direction === "redo") {
      const open = this.withoutLabel(selection.picks());
      if (open.length > 0 && open.every((ordinal) => this.seen[ordinal] === 0)) this.bringUp(open[0]!);
      return;
    }
    if (undone.length === 0) return;
    // The next Enter confirms what is seen from here on. What was taken out stays so.
    for (const ordinal of [...undone, ...this.withoutLabel(selection.picks())]) {
      this.seenCount -= this.seen[ordinal]!;
      this.seen[ordinal] = 0;
    }
    selection.offerToo(undone);
    this.bringUp(undone[0]!);
  }

  /** One key an object: who takes a label back wants to give that patch another one. */
  private returnToUndone(before: Uint8Array): void {
    const { selection, labels } = this;
    if (selection.source !== "suggested" || selection.reviewClass !== null) return;
    const undone = [...selection.order.keys()].filter(
      (rank) => labels.shown[selection.order[rank]!] !== before[selection.order[rank]!],
    );
    if (undone.length === 1) selection.setCursor(undone[0]!, true);
  }

  /** The answer to a gesture whose labels are not on the screen yet; resolves when they are. */
  takeResult(result: ActionResult, text: string): Promise<void> {
    this.project.setSession(result.session, result.undo, result.redo);
    this.notify({ text, tone: "success", topic: "labels", action: { text: "Undo", run: () => this.undo() } });
    return this.syncLabels();
  }

  private applyResult(result: ActionResult): void {
    this.project.setSession(result.session, result.undo, result.redo);
    if (result.revision === this.labels.revision + 1) this.labels.revision = result.revision;
    else if (result.revision !== this.labels.revision) {
      // Others' changes lie between, or came in before this answer: take them from the server, in its order.
      this.labels.revision = Math.min(this.labels.revision, result.revision - 1);
      void this.syncLabels();
    }
  }

  /** Fetch what changed in the label set since the known revision; calls that come meanwhile share one more round. */
  private syncLabels(): Promise<void> {
    if (this.syncing !== null) {
      this.syncAgain = true;
      return this.syncing;
    }
    const rounds = async () => {
      do {
        this.syncAgain = false;
        await this.fetchChanges();
      } while (this.syncAgain);
      this.syncing = null;
    };
    this.syncing = rounds();
    return this.syncing;
  }

  private async fetchChanges(): Promise<void> {
    const labelSet = this.project.labelSet;
    if (labelSet === null) return;
    try {
      const since = this.labels.revision;
      const changes = await fetchChanges(this.config.api, labelSet.id, since, { signal: this.lifetime.signal });
      // Labels of objects that were added a moment ago may come before the word of those.
      const known = changes.ordinals.reduce((n, ordinal) => Math.max(n, ordinal + 1), 0);
      if (known > this.project.nObjects) this.resizeTo(known);
      // What was taken back meanwhile is asked for again.
      const { revision } = this.labels;
      this.labels.apply(changes, revision < since ? revision : Math.max(changes.revision, revision));
    } catch (error) {
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not fetch label changes:", messageOf(error));
    }
  }

  selectionContext(): LabelAction["selection"] {
    const { selection, filters } = this;
    const last = selection.steps.at(-1);
    return {
      source: selection.source === "all" && filters.active ? "filter" : selection.source,
      polygon: last?.points ?? [],
      polygons: selection.steps,
      filters: { mode: filters.mode, classes: [...filters.classes], min_confidence: filters.minConfidence / 255 },
      order: this.orderFor(selection.size),
      shown: this.seenCount,
      seen: this.seenCount,
      size: selection.size,
      // A polygon on a layout that still runs belongs to no map.
      embedding: this.project.previewJob === null ? this.project.plotNumber : null,
      ...(selection.reviewClass === null ? {} : { review_class: selection.reviewClass }),
      ...(selection.proposal === null ? {} : { suggestion: aboutProposal(selection.proposal) }),
      ...(selection.query === null ? {} : { similar_to: aboutQuery(selection.query) }),
    };
  }

  // What to look at next -----------------------------------------------------------------------------------------------

  /** What was proposed may hold no more: it is asked again in a moment. `isNewMap`: the answer may take a while longer. */
  ageSuggestions(isNewMap = false): void {
    if (this.project.status !== "ready") return;
    this.suggestions.age(isNewMap && this.project.plotNumber !== null && this.project.previewJob === null);
    window.clearTimeout(this.suggestionTimer);
    this.suggestionTimer = window.setTimeout(() => void this.renewSuggestions(), SETTLED_MS);
  }

  /** Resolves when the newest answer is there, also where it was asked for meanwhile. */
  renewSuggestions(): Promise<void> {
    this.renewal = this.askWhatIsNext();
    return this.renewal;
  }

  private async askWhatIsNext(): Promise<void> {
    window.clearTimeout(this.suggestionTimer);
    this.suggestionRequest?.abort();
    const request = new AbortController();
    this.suggestionRequest = request;
    const signal = AbortSignal.any([request.signal, this.lifetime.signal]);
    try {
      this.suggestions.set(await fetchSuggestions(this.config.api, this.config.projectId, { signal }));
    } catch (error) {
      if (this.lifetime.signal.aborted) return;
      if (request.signal.aborted) return this.renewal;
      console.warn("PatchSorter could not ask what is next:", messageOf(error));
      this.suggestions.fail();
    }
  }

  /** Shows a proposed page: the one given, or the one that is recommended now. */
  async takeSuggestion(chosen?: Proposal): Promise<void> {
    this.passOver();
    const ask = async (signal: AbortSignal) => {
      if (chosen === undefined && this.suggestions.isOld) await this.renewSuggestions();
      signal.throwIfAborted();
      return this.nextPage(chosen, signal);
    };
    const found = await this.forRegion("The page", ask, "Looking for what is next …");
    if (found === null) return;
    if (found === undefined) {
      const failed = this.suggestions.status === "failed";
      const text = failed
        ? "What is next could not be asked."
        : `${this.suggestions.message || "Nothing is suggested yet"}.`;
      this.notify({ text, tone: failed ? "warning" : "plain", topic: "hint" });
      return;
    }
    const { proposal, instead } = found;
    if (proposal.kind === "sample" && this.sampling.sample !== null) {
      this.sampling.show();
      this.notify({ text: "This sample is still open: go on with it, or end it.", tone: "plain", topic: "hint" });
      return;
    }
    // Labels may still be on their way to the server.
    const page = proposal.kind === "discordant" ? found.page : this.withoutLabel(found.page);
    if (page.length === 0) {
      this.notify({ text: "Nothing of this kind is left.", tone: "plain", topic: "hint" });
      this.ageSuggestions();
      return;
    }
    // Where most are expected to be wrong, none is to be confirmed by one key: each gets its own.
    const isReview = proposal.class_value !== null && (proposal.expected_right ?? 1) >= 0.5;
    await this.showRegion(page, "suggested", {
      proposal,
      reviewClass: isReview ? proposal.class_value : null,
      pickAll: isReview,
      isOrderGiven: true,
    });
    if (!isReview) this.selection.setCursor(0, true);
    if (instead !== undefined)
      this.sayPassedOver(`“${instead.title}”: all of it was passed over already. The list beside Go has it.`);
    else if (found.page.length < proposal.n && found.nPassed > 0)
      this.sayPassedOver(`${count(found.page.length)} of ${count(proposal.n)}: the others were passed over already.`);
    if (proposal.kind === "sample") document.dispatchEvent(new CustomEvent("accept-by-sample"));
  }

  /** What the bar promised was not what came: why. */
  private sayPassedOver(text: string): void {
    this.notify({ text, tone: "plain", topic: "hint" });
  }

  /** A sample that was proposed is not wanted: the next is recommended, until labels or predictions have changed. */
  declineSample(): void {
    this.lookAnew();
    const { proposal } = this.selection;
    if (proposal?.kind === "sample") this.suggestions.exhaust(proposal);
  }

  /** A key that was meant for what was there a moment ago is not for what is there now. */
  lookAnew(): void {
    this.lookUntil = performance.now() + LOOK_MS;
  }

  /** The page of the proposal that was chosen, or of the first one of which not everything was passed over. */
  private async nextPage(chosen: Proposal | undefined, signal: AbortSignal): Promise<NextPage | undefined> {
    const { api, projectId } = this.config;
    const promised = chosen ?? this.suggestions.recommended;
    for (;;) {
      const proposal = chosen ?? this.suggestions.recommended;
      if (proposal === undefined) return undefined;
      const passed = this.suggestions.passed(proposal);
      const page = await fetchSuggestedPage(api, projectId, proposal, passed, { signal });
      if (page.length > 0 || passed.length === 0)
        return { proposal, page, nPassed: passed.length, instead: proposal === promised ? undefined : promised };
      if (chosen === undefined) this.suggestions.exhaust(proposal);
      else this.suggestions.forgetPassed(proposal);
    }
  }

  /** Who goes on has decided about what was on the screen: the same patches do not come again at once. */
  private passOver(): void {
    const { proposal, order } = this.selection;
    if (proposal === null) return;
    // Where labels are looked at again, one that was kept was decided about too.
    const isDecided = (ordinal: number) => proposal.kind === "discordant" || this.labels.shown[ordinal] === 0;
    let left = order.filter((ordinal) => this.seen[ordinal] === 1 && isDecided(ordinal));
    // Where each gets a key of its own, those that follow are still to come; unless none got one: then the page is not wanted.
    const isOneByOne = this.selection.reviewClass === null && proposal.kind !== "discordant";
    if (isOneByOne && order.some((ordinal) => this.labels.shown[ordinal] !== 0))
      left = left.filter((ordinal) => this.selection.rankOf(ordinal) < this.selection.cursor);
    this.suggestions.passOver(proposal, left);
  }

  /** Give up a search or a page that is on its way. Returns whether there was one. */
  stopAsking(): boolean {
    const asked = this.regionRequest !== null;
    this.regionRequest?.abort();
    this.regionRequest = null;
    return asked;
  }

  /** The answer that is to become the region, or null where it failed, which is said, or where something else was shown
   * in the meantime. */
  private async forRegion<T>(
    what: string,
    ask: (signal: AbortSignal) => Promise<T>,
    meanwhile: string,
  ): Promise<T | null> {
    this.regionRequest?.abort();
    const request = new AbortController();
    this.regionRequest = request;
    const signal = AbortSignal.any([request.signal, this.lifetime.signal]);
    const late = setTimeout(() => {
      this.notify({ text: meanwhile, tone: "plain", topic: "search", durationMs: PICTURE_PATIENCE_MS });
    }, LATE_MS);
    try {
      return await ask(signal);
    } catch (error) {
      if (!signal.aborted) {
        this.notify({ text: `${what} could not be loaded: ${messageOf(error)}`, tone: "danger", topic: "hint" });
      }
      return null;
    } finally {
      clearTimeout(late);
      if (this.regionRequest === request) this.regionRequest = null;
      // Given up, or there; a newer request speaks for itself.
      if (this.regionRequest === null) this.notices.dismissTopic("search");
    }
  }

  // Similar objects ----------------------------------------------------------------------------------------------------

  /** Shows the objects most like the picked ones, or like `current` where nobody picked any. */
  searchSimilar(current: number): Promise<void> | undefined {
    const picks = this.selection.picks();
    const isChosen = picks.length > 0 && !(this.selection.isOffered && current >= 0);
    const ordinals = isChosen ? picks : Uint32Array.from(current >= 0 ? [current] : []);
    if (ordinals.length === 0) {
      this.notify({ text: "Select one or more patches first, or point at one.", tone: "plain", topic: "hint" });
      return undefined;
    }
    return this.showSimilar({ to: { ordinals }, k: SIMILAR_FIRST, unlabeled: this.filters.mode === "unlabeled" });
  }

  /** The same search with other settings. */
  searchAgain(changes: Partial<Pick<SimilarQuery, "k" | "unlabeled">>): void {
    const { query } = this.selection;
    if (query !== null)
      void this.showSimilar({ ...query, ...changes, k: Math.min(changes.k ?? query.k, SIMILAR_MOST) });
  }

  /** Whether a search could give more than it gave. */
  get hasMoreSimilar(): boolean {
    const { query } = this.selection;
    return query !== null && this.region.base.length >= query.k && query.k < SIMILAR_MOST;
  }

  private async showSimilar(query: SimilarQuery): Promise<void> {
    const { api, projectId } = this.config;
    const [only] = this.filters.classes;
    const classValue = this.filters.classes.size === 1 && only !== undefined ? only : null;
    const ask = (signal: AbortSignal) =>
      fetchSimilar(api, projectId, query.to, { k: query.k, unlabeled: query.unlabeled, classValue }, { signal });
    const found = await this.forRegion("Similar objects", ask, "Searching for similar objects …");
    if (found !== null) await this.showRegion(found.ordinals, "similar", { query, isOrderGiven: true });
  }

  /** Searches with a picture of an object, once a worker has read it. */
  async searchPicture(picture: File): Promise<void> {
    const read = async (signal: AbortSignal): Promise<Job> => {
      const { api, projectId } = this.config;
      let job = await postPicture(api, projectId, picture, { signal });
      const until = performance.now() + PICTURE_PATIENCE_MS;
      while (isActive(job)) {
        if (performance.now() > until) throw new Error("no worker has read it yet. Is one running?");
        await new Promise((resolve) => setTimeout(resolve, PICTURE_POLL_MS));
        job = await fetchJob(api, String(job.id), { signal });
      }
      if (job.state !== "finished") throw new Error(job.error || `its job was ${job.state}`);
      return job;
    };
    const job = await this.forRegion("The picture", read, `Reading ${picture.name} …`);
    if (job === null) return;
    const to = { pictureJob: job.id, name: picture.name };
    await this.showSimilar({ to, k: SIMILAR_FIRST, unlabeled: this.filters.mode === "unlabeled" });
  }

  // Jobs -------------------------------------------------------------------------------------------------------------

  async train(): Promise<void> {
    if (!this.project.canTrain) {
      this.notify({ text: "Your role in this project may not start a training.", tone: "warning", topic: "access" });
      return;
    }
    if (this.project.isTraining || this.isStarting) {
      this.notify({
        text: "The model is being trained already. Labeling goes on meanwhile.",
        tone: "plain",
        topic: "job",
      });
      return;
    }
    if (this.project.nObjects === 0) {
      this.notify({ text: "There are no objects to train on yet.", tone: "plain", topic: "job" });
      return;
    }
    this.isStarting = true;
    try {
      this.project.setJob(await startIteration(this.config.api, this.config.projectId));
    } catch (error) {
      this.notify({ text: `The training did not start: ${messageOf(error)}`, tone: "danger", topic: "job" });
    } finally {
      this.isStarting = false;
    }
  }

  async cancel(job: Job): Promise<void> {
    try {
      await cancelJob(this.config.api, job.id);
      this.notify({ text: `${job.title} is being cancelled. Labels stay.`, tone: "plain", topic: "job" });
      await this.catchUp();
    } catch (error) {
      this.notify({ text: `The job could not be cancelled: ${messageOf(error)}`, tone: "danger", topic: "job" });
    }
  }

  /** A machine that slept may hold a socket that is dead without knowing it. */
  private readonly cameBack = (): void => {
    if (document.visibilityState === "visible") void this.catchUp();
  };

  /** Where a proxy lets no websocket through, the page asks now and then. */
  private readonly pollWithoutSocket = (): void => {
    if (this.project.connection !== "live" && document.visibilityState === "visible" && navigator.onLine) {
      void this.catchUp();
    }
  };

  private readonly cameOnline = (): void => this.queue.retryNow();

  private readonly warnBeforeLeaving = (event: BeforeUnloadEvent): void => {
    if (this.queue.length > 0) event.preventDefault();
  };
}

function indicesOf(member: Uint8Array): Uint32Array {
  let n = 0;
  for (let i = 0; i < member.length; i++) n += member[i]!;
  const indices = new Uint32Array(n);
  for (let i = 0, k = 0; i < member.length; i++) if (member[i] === 1) indices[k++] = i;
  return indices;
}

const aboutProposal = ({ kind, title, group }: Proposal) => ({ kind, title, group });

const aboutQuery = ({ to }: SimilarQuery) =>
  "ordinals" in to ? { ordinals: [...to.ordinals.subarray(0, QUERY_RECORDED)] } : { picture_job: to.pictureJob };

/** crypto.randomUUID exists in secure contexts only; a department's server may be plain http. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
