import { HttpError, messageOf, newClientKey } from "../../api/http";
import { postRedo, postUndo } from "../../api/labels";
import type { ActionResult } from "../../api/types";
import { ago, plural } from "../../lib/format";
import { indicesOf } from "../../lib/ordinals";
import type { Notice } from "../../state/notices";
import { PAGES } from "../../state/selection";
import { Part } from "./part";

/** Of a gesture that was made longer ago an undo says when: it is none of this sitting's. */
const OLD_GESTURE_MS = 15 * 60_000;

/** Undo and redo of one's own gestures, and where the screen goes on after them. */
export class GestureHistory extends Part {
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
    if (entry === null && this.controller.queue.length === 0) {
      this.notify({ text: `There is nothing to ${direction}.`, tone: "plain", topic: "hint" });
      return;
    }
    const clientKey = newClientKey();
    const workedS = this.controller.activity.take();
    this.controller.queue.add<ActionResult>({
      clientKey,
      send: () => {
        // Not sooner: the gestures before this one have been answered only now.
        if (this.controller.sampling.isShown && this.controller.sampling.isOlder(this.project[direction])) {
          const text = `What was labeled before this sample can not be ${direction === "undo" ? "undone" : "redone"} from within it. To take a mark back, click the patch again.`;
          return Promise.reject(new HttpError(409, text));
        }
        const expected = this.project[direction]?.action_id ?? null;
        return (direction === "undo" ? postUndo : postRedo)(this.config.api, labelSet.id, clientKey, expected, workedS);
      },
      onSaved: (result) => {
        this.project.setSession(result.session, result.undo, result.redo);
        this.controller.labeling.forgetAllLeftOut();
        const before = this.labels.shown.slice();
        this.notices.dismissTopic("hint");
        const notice = this.sayWhatChanged(direction, result);
        void this.controller.labelChanges.fetchOwn().then(() => {
          this.selection.afterRectangle(() => {
            this.offerUndone(before, direction);
            this.returnToUndone(before, direction);
          });
          this.offerToShow(notice, result, before);
        });
      },
      onRefused: (error) => {
        const nothing = error instanceof HttpError && error.status === 409;
        this.notify({
          text: messageOf(error),
          tone: nothing ? "warning" : "danger",
          topic: nothing ? "hint" : "save",
        });
        void this.controller.sync.catchUp();
      },
    });
  }

  /** Which gesture it was, and how old. */
  private sayWhatChanged(direction: "undo" | "redo", result: ActionResult): Notice {
    const done = direction === "undo" ? result.redo : result.undo;
    const gesture = done?.action_id === result.action_id ? done : null;
    const isOld = gesture !== null && Date.now() - Date.parse(gesture.at) > OLD_GESTURE_MS;
    const when = isOld ? `, ${ago(gesture.at, Date.now())}` : "";
    const skipped = result.n_skipped ?? 0;
    // First: a narrow screen cuts the end.
    const left = skipped > 0 ? `${plural(skipped, "object")} left as others labeled them since. ` : "";
    const notice: Notice = {
      text: `${left}${direction === "undo" ? "Undone" : "Redone"}: ${gesture?.text ?? plural(result.n_changed, "object")}${when}`,
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
    this.notify({
      ...notice,
      action: { text: "Show", run: () => void this.controller.region.show(changed, "undone") },
    });
  }

  /** What was undone of a page is looked at and confirmed again, before what else of it is open; what was redone is not
   * confirmed once more. */
  private offerUndone(before: Uint8Array, direction: "undo" | "redo"): void {
    const { selection } = this;
    if (!PAGES.has(selection.source) || selection.reviewClass === null) return;
    if (selection.held) {
      if (this.labels.unlabeledOf(selection.picks()).length === selection.pickedCount) selection.release();
      return;
    }
    selection.offerNoMore(
      selection.order.filter((ordinal) => before[ordinal] === 0 && this.labels.shown[ordinal] !== 0),
    );
    const undone = this.labels.unlabeledOf(
      selection.order.filter((ordinal) => before[ordinal] === selection.reviewClass),
    );
    if (!selection.isOffered) return;
    if (direction === "redo") {
      const open = this.labels.unlabeledOf(selection.picks());
      if (open.length > 0 && open.every((ordinal) => !this.seen.has(ordinal))) this.controller.region.bringUp(open[0]!);
      return;
    }
    if (undone.length === 0) return;
    // The next Enter confirms what is seen from here on. What was taken out stays so.
    this.seen.forget([...undone, ...this.labels.unlabeledOf(selection.picks())]);
    selection.offerToo(undone);
    this.controller.region.bringUp(undone[0]!);
  }

  /** One key an object: who takes a label back wants to give that patch another one, and who gives it again goes on. */
  private returnToUndone(before: Uint8Array, direction: "undo" | "redo"): void {
    const { selection, labels } = this;
    if (selection.source !== "suggested" || selection.reviewClass !== null) return;
    const undone = [...selection.order.keys()].filter(
      (rank) => labels.shown[selection.order[rank]!] !== before[selection.order[rank]!],
    );
    if (undone.length !== 1) return;
    selection.setCursor(undone[0]!, true);
    if (direction === "redo") this.controller.labeling.goToNextUnlabeled();
  }
}
