import { messageOf } from "../../api/http";
import { fetchLabels } from "../../api/labels";
import { fetchGroups, fetchImageNames, fetchImages } from "../../api/objects";
import { fetchPlot, fetchPredictions, fetchPreview, fetchState } from "../../api/projects";
import { isActive, type ProjectState } from "../../api/types";
import { SpatialIndex } from "../../lib/spatial-index";
import type { ProjectEvent } from "../../live/events";
import { ProjectSocket } from "../../live/socket";
import type { WorkspaceController } from "./controller";
import { Part } from "./part";

const POLL_MS = 15_000;

/** Keeps the screen at what the server knows: loads it, hears of news, and catches up after a break. */
export class Sync extends Part {
  private socket: ProjectSocket | null = null;
  private loadingEmbedding = -1;
  private loadingPreview = false;
  private loadingPredictions: Promise<void> | null = null;
  private readonly pollTimer: number;

  constructor(controller: WorkspaceController) {
    super(controller);
    document.addEventListener("visibilitychange", this.cameBack);
    this.pollTimer = window.setInterval(this.pollWithoutSocket, POLL_MS);
    window.addEventListener("online", this.cameOnline);
    window.addEventListener("beforeunload", this.warnBeforeLeaving);
  }

  destroy(): void {
    this.socket?.close();
    window.clearInterval(this.pollTimer);
    document.removeEventListener("visibilitychange", this.cameBack);
    window.removeEventListener("online", this.cameOnline);
    window.removeEventListener("beforeunload", this.warnBeforeLeaving);
  }

  async start(): Promise<void> {
    this.project.setStatus("loading");
    try {
      const state = await fetchState(this.config.api, this.config.projectId, { signal: this.signal });
      this.listen();
      this.project.applyState(state);
      const labels = await fetchLabels(this.config.api, state.label_set.id, { signal: this.signal });
      this.resizeTo(Math.max(state.project.n_objects, labels.classes.length));
      this.labels.load(labels, this.project.nObjects);
      this.project.setStatus("ready");
      void this.controller.next.renew();
      if (state.embedding !== null) {
        await Promise.all([this.loadEmbedding(state.embedding.number), this.syncPredictions()]);
      } else this.controller.region.showAll();
      const { imageId, ordinal } = this.config;
      if (imageId !== null) await this.controller.region.showImage(imageId, ordinal);
      await this.loadColors();
    } catch (error) {
      if (this.signal.aborted) return;
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
        this.controller.queue.retryNow();
        void this.catchUp();
      },
    });
  }

  /** Ask for the state and fetch what has changed: after a lost connection, and when in doubt. */
  async catchUp(): Promise<void> {
    if (this.project.status !== "ready") return;
    try {
      const state = await fetchState(this.config.api, this.config.projectId, { signal: this.signal });
      await this.applyState(state);
    } catch (error) {
      if (!this.signal.aborted) console.warn("PatchSorter could not catch up:", messageOf(error));
    }
  }

  private async applyState(state: ProjectState): Promise<void> {
    this.project.applyState(state);
    this.resizeTo(state.project.n_objects);
    if (state.label_set.revision > this.labels.revision) await this.controller.labelChanges.fetch();
    const predictions = this.syncPredictions();
    if (state.embedding !== null && state.embedding.number > (this.project.plotNumber ?? -1)) {
      await this.loadEmbedding(state.embedding.number);
    }
    // The end of a layout may have been missed.
    const { previewJob } = this.project;
    if (previewJob !== null && !state.jobs.some((job) => job.id === previewJob && isActive(job)))
      await this.endPreview();
    await predictions;
  }

  /** There are so many objects now. */
  resizeTo(nObjects: number): void {
    const grew = nObjects > this.labels.n && this.labels.n > 0;
    this.project.setNObjects(nObjects);
    this.labels.resize(nObjects);
    this.selection.resize(nObjects);
    this.seen.resize(nObjects);
    if (grew) this.controller.region.grow();
  }

  private async loadEmbedding(number: number): Promise<void> {
    if (this.loadingEmbedding >= number) return;
    this.loadingEmbedding = number;
    try {
      const plot = await fetchPlot(this.config.api, this.config.projectId, number, { signal: this.signal });
      await this.controller.region.lassoEnded();
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
      this.controller.chooseColor();
      this.controller.region.pointsMoved(first);
      void this.loadColors();
    } catch (error) {
      if (this.loadingEmbedding !== number) return;
      this.loadingEmbedding = -1;
      if (this.signal.aborted) return;
      this.notify({
        text: `The map could not be loaded: ${messageOf(error)}`,
        tone: "danger",
        topic: "map",
        action: { text: "Try again", run: () => void this.loadEmbedding(number) },
      });
      if (this.project.plot === null) this.controller.region.showAll();
    }
  }

  /** Let the points glide to where a layout has brought them. What comes while one is fetched is skipped: the next is
   * never far, and the last is the map. */
  private async loadPreview(job: number): Promise<void> {
    const { project } = this;
    if (this.loadingPreview || this.controller.region.isLassoing || document.visibilityState === "hidden") return;
    this.loadingPreview = true;
    const map = project.plotNumber;
    try {
      const plot = await fetchPreview(this.config.api, this.config.projectId, job, { signal: this.signal });
      const isOld = project.plotNumber !== map || !project.jobs.some((known) => known.id === job && isActive(known));
      // A layout that knows fewer objects than the map would take places away.
      if (isOld || this.controller.region.isLassoing || plot.n < (project.plot?.n ?? 0) || plot.n > project.nObjects)
        return;
      const first = project.plot === null;
      project.setPreview(job, plot, new SpatialIndex(plot.positions));
      this.controller.chooseColor();
      this.controller.region.pointsMoved(first);
    } catch (error) {
      // Without previews the map comes all the same.
      if (!this.signal.aborted) console.warn("PatchSorter could not fetch a preview:", messageOf(error));
    } finally {
      this.loadingPreview = false;
    }
  }

  /** The layout ended without a map. */
  private async endPreview(): Promise<void> {
    await this.controller.region.lassoEnded();
    if (this.project.previewJob === null) return; // a map came
    this.project.dropPreview();
    this.controller.region.pointsMoved(false);
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
      const buffer = await fetchPredictions(this.config.api, this.config.projectId, { signal: this.signal });
      if (buffer.revision <= this.project.predictionsRevision) return false;
      this.project.setPredictions(buffer);
      this.controller.chooseColor();
      this.controller.region.predictionsChanged();
      return true;
    } catch (error) {
      // The next event, or the next look at the state, asks again.
      if (!this.signal.aborted) console.warn("PatchSorter could not fetch predictions:", messageOf(error));
      return false;
    }
  }

  /** What the chosen colors show, where only they ask for it. */
  async loadColors(): Promise<void> {
    if (this.filters.color === "image") await this.loadImages();
    if (this.filters.color === "group") await this.loadGroups();
  }

  loadImages(): Promise<void> {
    return this.telling(async () => {
      if (this.project.images !== null || this.project.nObjects === 0) return;
      const { api, projectId } = this.config;
      const options = { signal: this.signal };
      const [images, names] = await Promise.all([
        fetchImages(api, projectId, options),
        fetchImageNames(api, projectId, options),
      ]);
      this.project.setImages(images, names);
    });
  }

  private loadGroups(): Promise<void> {
    return this.telling(async () => {
      const { plotNumber, groups } = this.project;
      if (plotNumber === null || groups?.embedding === plotNumber) return;
      this.project.setGroups(await fetchGroups(this.config.api, this.config.projectId, { signal: this.signal }));
    });
  }

  /** Does it, and says what failed. */
  private async telling(load: () => Promise<void>): Promise<void> {
    try {
      await load();
    } catch (error) {
      if (!this.signal.aborted) this.notify({ text: messageOf(error), tone: "danger", topic: "map" });
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
        if (known !== undefined && isActive(known)) this.controller.jobs.tellOutcome(event.job);
        if (event.job.id === this.project.previewJob) {
          if (event.job.state === "finished") void this.catchUp();
          else void this.endPreview();
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
          this.controller.labelChanges.announce(event.revision);
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

  private readonly cameOnline = (): void => this.controller.queue.retryNow();

  private readonly warnBeforeLeaving = (event: BeforeUnloadEvent): void => {
    if (this.controller.queue.length > 0) event.preventDefault();
  };
}
