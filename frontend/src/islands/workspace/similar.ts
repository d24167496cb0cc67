import { fetchJob } from "../../api/jobs";
import { fetchSimilar, postPicture } from "../../api/objects";
import { isActive, type Job, type PictureJob } from "../../api/types";
import { count } from "../../lib/format";
import type { SimilarQuery } from "../../state/selection";
import { Part } from "./part";

const SIMILAR_FIRST = 300;
const SIMILAR_MOST = 5000;
const PICTURE_POLL_MS = 400;
const PICTURE_PATIENCE_MS = 60_000;
const NOTE_MS = 12_000;

/** Searches for the objects most like some, or like one on a picture. */
export class SimilarSearch extends Part {
  /** Shows the objects most like the picked ones, or like `current` where nobody picked any. */
  search(current: number): Promise<void> | undefined {
    const picks = this.selection.picks();
    const isChosen = picks.length > 0 && !(this.selection.isOffered && current >= 0);
    const ordinals = isChosen ? picks : Uint32Array.from(current >= 0 ? [current] : []);
    if (ordinals.length === 0) {
      this.notify({ text: "Select one or more patches first, or point at one.", tone: "plain", topic: "hint" });
      return undefined;
    }
    return this.show({ to: { ordinals }, k: SIMILAR_FIRST, unlabeled: this.filters.mode === "unlabeled" });
  }

  /** The same search with other settings. */
  again(changes: Partial<Pick<SimilarQuery, "k" | "unlabeled">>): void {
    const { query } = this.selection;
    if (query !== null) void this.show({ ...query, ...changes, k: Math.min(changes.k ?? query.k, SIMILAR_MOST) });
  }

  /** Whether a search could give more than it gave. */
  get hasMore(): boolean {
    const { query } = this.selection;
    return query !== null && this.controller.region.nWanted >= query.k && query.k < SIMILAR_MOST;
  }

  /** The class that the map is filtered by, where it is one: a search keeps to it. */
  get onlyClass(): number | null {
    const [only] = this.filters.classes;
    return this.filters.classes.size === 1 && only !== undefined ? only : null;
  }

  private async show(query: SimilarQuery): Promise<void> {
    const { api, projectId } = this.config;
    const classValue = this.onlyClass;
    const ask = (signal: AbortSignal) =>
      fetchSimilar(api, projectId, query.to, { k: query.k, unlabeled: query.unlabeled, classValue }, { signal });
    const found = await this.controller.region.ask("Similar objects", ask, "Searching for similar objects …");
    if (found !== null) await this.controller.region.show(found.ordinals, "similar", { query, isOrderGiven: true });
  }

  /** Searches with a picture of an object, once a worker has read it. */
  async searchWith(picture: File): Promise<void> {
    const read = async (signal: AbortSignal): Promise<PictureJob> => {
      const { api, projectId } = this.config;
      const sent = await postPicture(api, projectId, picture, { signal });
      let job: Job = sent;
      const until = performance.now() + PICTURE_PATIENCE_MS;
      while (isActive(job)) {
        if (performance.now() > until) throw new Error("no worker has read it yet. Is one running?");
        await new Promise((resolve) => setTimeout(resolve, PICTURE_POLL_MS));
        job = await fetchJob(api, String(job.id), { signal });
      }
      if (job.state !== "finished") throw new Error(job.error || `its job was ${job.state}`);
      return sent;
    };
    const job = await this.controller.region.ask("The picture", read, `Reading ${picture.name} …`);
    if (job === null) return;
    const to = { pictureJob: job.id, name: picture.name };
    await this.show({ to, k: SIMILAR_FIRST, unlabeled: this.filters.mode === "unlabeled" });
    if (job.shrunk_from_px === null) return;
    const side = count(job.shrunk_from_px);
    this.notify({
      text: `${picture.name}: its middle, ${side} px wide, was searched with as if it were one patch. Cut out one object for a better search.`,
      tone: "warning",
      topic: "hint",
      durationMs: NOTE_MS,
    });
  }
}
