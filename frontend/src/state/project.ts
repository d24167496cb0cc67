import type {
  EmbeddingInfo,
  Job,
  LabelClass,
  LabelSet,
  PredictionsInfo,
  ProjectState,
  SampledState,
  SessionRate,
  UndoEntry,
} from "../api/types";
import { isActive } from "../api/types";
import type { SpatialIndex } from "../lib/spatial-index";
import type { GroupsBuffer, PlotBuffer, PredictionsBuffer } from "../lib/wire";
import type { SocketStatus } from "../live/socket";
import { Emitter } from "./emitter";

export type LoadStatus = "loading" | "ready" | "failed";

/** The facts about the project that the screen shows, and its arrays by ordinal. */
export class ProjectStore extends Emitter<
  | "status"
  | "state"
  | "jobs"
  | "embedding"
  | "predictions"
  | "session"
  | "connection"
  | "presence"
  | "objects"
  | "images"
  | "groups"
  | "hidden"
> {
  status: LoadStatus = "loading";
  problem = "";
  nObjects = 0;
  patchSizePx = 64;
  classes: readonly LabelClass[] = [];
  labelSet: LabelSet | null = null;
  jobs: readonly Job[] = [];
  session: SessionRate | null = null;
  sampled: SampledState = { allowed: false, max_error: 0, longest_first_look: 0, open_sample: null };
  undo: UndoEntry | null = null;
  redo: UndoEntry | null = null;
  connection: SocketStatus = "connecting";
  others: readonly string[] = [];

  embedding: EmbeddingInfo | null = null;
  /** The map on the screen; `embedding` may already tell of a newer one. */
  plotNumber: number | null = null;
  plot: PlotBuffer | null = null;
  index: SpatialIndex | null = null;
  /** The job whose layout the points show while it runs; they are no map yet. */
  previewJob: number | null = null;
  /** (n_objects) class value, 0 where nothing is predicted; its confidence, 0..255. */
  predictions: Uint8Array = new Uint8Array(0);
  confidences: Uint8Array = new Uint8Array(0);
  /** Of the predictions on the screen; -1 before there are any. */
  predictionsRevision = -1;
  /** What the server said last of the predictions; `predictionsRevision` may still be behind. */
  predictionsInfo: PredictionsInfo | null = null;
  /** (n_objects) image id, once something asked for it. */
  images: Uint32Array | null = null;
  imageNames: ReadonlyMap<number, string> = new Map();
  /** Groups of similar objects, of the newest map that something asked for them on. */
  groups: GroupsBuffer | null = null;
  /** (n_objects) 1 = hidden by the filters. */
  hidden: Uint8Array = new Uint8Array(0);

  /** The map that a preview stands in front of. */
  private settled: { readonly plot: PlotBuffer | null; readonly index: SpatialIndex | null } = {
    plot: null,
    index: null,
  };
  private permissions: ReadonlySet<string> | null = null;

  get canLabel(): boolean {
    return this.permissions === null || this.permissions.has("label.write");
  }

  get canTrain(): boolean {
    return this.permissions === null || this.permissions.has("train.start");
  }

  get activeJob(): Job | null {
    return this.jobs.find((job) => job.state === "running") ?? this.jobs.find(isActive) ?? null;
  }

  get isTraining(): boolean {
    return this.jobs.some((job) => isActive(job) && job.kind === "iteration");
  }

  /** Objects that came after the newest map was made. */
  get nUnplaced(): number {
    return this.plot === null ? 0 : Math.max(0, this.nObjects - this.plot.n);
  }

  classOf(value: number): LabelClass | undefined {
    return this.classes.find((c) => c.value === value);
  }

  setStatus(status: LoadStatus, problem = ""): void {
    this.status = status;
    this.problem = problem;
    this.emit("status");
  }

  applyState(state: ProjectState): void {
    this.patchSizePx = state.project.patch_size_px;
    this.classes = state.classes;
    this.labelSet = state.label_set;
    this.sampled = state.sampled;
    this.permissions = state.permissions === undefined ? null : new Set(state.permissions);
    // What was heard to have ended has ended, also where the answer was on its way meanwhile.
    const ended = new Map(this.jobs.filter((job) => !isActive(job)).map((job) => [job.id, job]));
    this.jobs = state.jobs.map((job) => ended.get(job.id) ?? job);
    this.embedding = state.embedding;
    this.predictionsInfo = state.predictions;
    this.setNObjects(state.project.n_objects);
    this.emit("state");
    this.emit("jobs");
    this.setSession(state.session, state.undo, state.redo);
  }

  setNObjects(n: number): void {
    if (n === this.nObjects && this.hidden.length === n) return;
    this.nObjects = n;
    this.images = null;
    this.hidden = new Uint8Array(n);
    this.predictions = fitted(this.predictions, n);
    this.confidences = fitted(this.confidences, n);
    this.emit("objects");
  }

  setPlot(number: number, plot: PlotBuffer, index: SpatialIndex): void {
    this.plotNumber = number;
    this.plot = plot;
    this.index = index;
    this.previewJob = null;
    this.settled = { plot, index };
    this.emit("embedding");
  }

  /** Places of a layout that still runs, in front of the newest map. */
  setPreview(job: number, plot: PlotBuffer, index: SpatialIndex): void {
    this.previewJob = job;
    this.plot = plot;
    this.index = index;
    this.emit("embedding");
  }

  /** The layout came to nothing: back to the newest map. */
  dropPreview(): void {
    if (this.previewJob === null) return;
    this.previewJob = null;
    this.plot = this.settled.plot;
    this.index = this.settled.index;
    this.emit("embedding");
  }

  /** News of predictions that are still to be fetched. */
  tellPredictions(predictions: PredictionsInfo): void {
    this.predictionsInfo = predictions;
    this.emit("predictions");
  }

  setPredictions(buffer: PredictionsBuffer): void {
    this.predictionsRevision = buffer.revision;
    this.predictions = fitted(buffer.classes, this.nObjects);
    this.confidences = fitted(buffer.confidences, this.nObjects);
    this.emit("predictions");
  }

  setImages(images: Uint32Array, names: ReadonlyMap<number, string>): void {
    this.images = images;
    this.imageNames = names;
    this.emit("images");
  }

  setGroups(groups: GroupsBuffer): void {
    this.groups = groups;
    this.emit("groups");
  }

  setSession(session: SessionRate | null, undo: UndoEntry | null, redo: UndoEntry | null): void {
    this.session = session;
    this.undo = undo;
    this.redo = redo;
    this.emit("session");
  }

  /** One job's news, put in its place among the known ones. */
  setJob(job: Job): void {
    const known = this.jobs.some((other) => other.id === job.id);
    this.jobs = known ? this.jobs.map((other) => (other.id === job.id ? job : other)) : [job, ...this.jobs];
    this.emit("jobs");
  }

  setConnection(connection: SocketStatus): void {
    this.connection = connection;
    this.emit("connection");
  }

  setOthers(others: readonly string[]): void {
    this.others = others;
    this.emit("presence");
  }

  hiddenChanged(): void {
    this.emit("hidden");
  }
}

/** The array with n entries: cut, or filled up with 0. */
function fitted(source: Uint8Array, n: number): Uint8Array {
  const result = new Uint8Array(n);
  result.set(source.subarray(0, n));
  return result;
}
