import { messageOf } from "../../api/http";
import { fetchChanges } from "../../api/labels";
import type { ActionResult } from "../../api/types";
import type { WorkspaceController } from "./controller";
import { Part } from "./part";

/** Keeps the labels on the screen at the server's revision, whoever changed them. */
export class LabelChanges extends Part {
  /** The newest revision of the labels that the server has told of. */
  private announcedRevision = 0;
  private syncing: Promise<void> | null = null;
  private syncAgain = false;
  /** So many of one's own gestures are being fetched: then it is no colleague who has labeled what the cursor is at. */
  private nOwn = 0;

  constructor(controller: WorkspaceController) {
    super(controller);
    controller.queue.on("status", () => this.takeAnnounced());
  }

  /** Fetches labels that are known to be there. While own actions are on their way their answers may bring them. */
  private takeAnnounced(): void {
    if (this.controller.queue.length === 0 && this.announcedRevision > this.labels.revision) void this.fetch();
  }

  /** The server has told of this revision. */
  announce(revision: number): void {
    this.announcedRevision = revision;
    this.takeAnnounced();
  }

  /** The answer to a gesture whose labels are not on the screen yet; resolves when they are. */
  takeUnshown(result: ActionResult, text: string): Promise<void> {
    this.project.setSession(result.session, result.undo, result.redo);
    this.notify({
      text,
      tone: "success",
      topic: "labels",
      action: { text: "Undo", run: () => this.controller.history.undo() },
    });
    return this.fetchOwn();
  }

  /** Fetch what one's own gesture has changed. */
  fetchOwn(): Promise<void> {
    this.nOwn++;
    return this.fetch().finally(() => this.nOwn--);
  }

  /** The answer to a gesture whose labels are on the screen already. */
  takeShown(result: ActionResult): void {
    this.project.setSession(result.session, result.undo, result.redo);
    if (result.revision === this.labels.revision + 1) this.labels.revision = result.revision;
    else if (result.revision !== this.labels.revision) {
      // Others' changes lie between, or came in before this answer: take them from the server, in its order.
      this.labels.revision = Math.min(this.labels.revision, result.revision - 1);
      void this.fetch();
    }
  }

  /** Fetch what changed in the label set since the known revision; calls that come meanwhile share one more round. */
  fetch(): Promise<void> {
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
      const changes = await fetchChanges(this.config.api, labelSet.id, since, { signal: this.signal });
      // Labels of objects that were added a moment ago may come before the word of those.
      const known = changes.ordinals.reduce((n, ordinal) => Math.max(n, ordinal + 1), 0);
      if (known > this.project.nObjects) this.controller.sync.resizeTo(known);
      // What was taken back meanwhile is asked for again.
      const { revision } = this.labels;
      const at = this.controller.labeling.objectToLabel;
      const wasOpen = at !== undefined && this.labels.shown[at] === 0;
      this.labels.apply(changes, revision < since ? revision : Math.max(changes.revision, revision));
      // Or the next key, meant to be the first label, would replace a colleague's.
      if (wasOpen && this.nOwn === 0 && this.labels.shown[at] !== 0) this.controller.labeling.makeRoom();
    } catch (error) {
      if (!this.signal.aborted) console.warn("PatchSorter could not fetch label changes:", messageOf(error));
    }
  }
}
