import { HttpError, messageOf, newClientKey } from "../../api/http";
import { type LabelAction, postAction, postUndo, type QuickReview, takeUpQuickReview } from "../../api/labels";
import { type PatchView, patchUrl } from "../../api/objects";
import type { ActionResult, LabelClass } from "../../api/types";
import { el } from "../../lib/dom";
import { plural } from "../../lib/format";
import { belongsToControl, belongsToField, commandFor } from "../../lib/keymap";
import { ActionQueue } from "../../state/action-queue";
import { Activity, watchActivity } from "../../state/activity";
import type { Island } from "../mount";
import { Run } from "./run";

const API = "/api/v1";
const PATCH_PX = 384;
const VIEWS: readonly PatchView[] = ["patch", "context"];
const ALT: Readonly<Record<PatchView, string>> = { patch: "The object to label", context: "What lies around it" };
/** Fetched before they are looked at: nobody is to be timed by the network. */
const AHEAD = 4;
const RETRY_MS = 2000;

/** <div data-island="quick-review" data-project-id="1" data-done-url="...">: one patch after the other, each labeled by a key, without
 * what the model or anybody else says. */
export class QuickReviewIsland implements Island {
  private readonly lifetime = new AbortController();
  private readonly queue = new ActionQueue();
  private readonly activity = new Activity();
  /** The object, and where it lies. */
  private readonly pictures = VIEWS.map((view) => ({
    view,
    image: el("img", { class: "quick-review__patch", alt: ALT[view], draggable: "false" }),
  }));
  private readonly told = el("p", { class: "quick-review__told", role: "status", "data-testid": "quick-review-told" });
  private readonly fault = el("p", { class: "alert alert--danger", role: "alert", hidden: true });
  private run: Run = new Run([], 0);
  private review: QuickReview | null = null;
  /** What Z takes back, the last first; null where the object had that label before. */
  private readonly made: (ActionResult["action_id"] | null)[] = [];

  constructor(private readonly element: HTMLElement) {
    watchActivity(this.activity, this.lifetime.signal);
    document.addEventListener("keydown", (event) => this.key(event), { signal: this.lifetime.signal });
    window.addEventListener("beforeunload", (event) => this.queue.length > 0 && event.preventDefault(), {
      signal: this.lifetime.signal,
    });
    this.queue.on("status", () => this.show());
    for (const { image } of this.pictures) {
      image.addEventListener("load", () => this.show());
      image.addEventListener("error", () => {
        this.show();
        const url = image.src;
        window.setTimeout(() => {
          if (!this.lifetime.signal.aborted && image.src === url) image.src = url;
        }, RETRY_MS);
      });
    }
    void this.load();
  }

  destroy(): void {
    this.lifetime.abort();
  }

  private get projectId(): string {
    return this.element.dataset["projectId"] ?? "";
  }

  private async load(): Promise<void> {
    try {
      this.review = await takeUpQuickReview(API, this.projectId, { signal: this.lifetime.signal });
    } catch (error) {
      if (!this.lifetime.signal.aborted)
        this.element.replaceChildren(el("p", { class: "muted" }, `It could not begin: ${messageOf(error)}`));
      return;
    }
    const { n, ordinals, classes } = this.review;
    this.run = new Run(ordinals, n - ordinals.length);
    this.run.on("place", () => {
      this.show();
      this.prefetch();
    });
    this.element.replaceChildren(
      el(
        "p",
        { class: "muted" },
        `${plural(n, "object")} of the project, drawn at random, one after the other: what is it? Neither the model nor anybody else says a word, and nobody else ` +
          "sees what you say here. Your pace alone is what your other sessions are compared with, and your answers with the shared labels.",
      ),
      this.fault,
      this.told,
      el("div", { class: "quick-review__stage" }, ...this.pictures.map(({ image }) => image)),
      el("div", { class: "quick-review__classes" }, ...classes.map((labelClass) => this.button(labelClass))),
    );
    this.show();
    this.prefetch();
  }

  private prefetch(): void {
    for (const next of this.run.next(AHEAD)) for (const view of VIEWS) new Image().src = this.patch(next, view);
  }

  private button(labelClass: LabelClass): HTMLElement {
    return el(
      "button",
      { type: "button", class: "button", onclick: () => this.label(labelClass) },
      labelClass.key !== "" && el("kbd", { class: "key" }, labelClass.key),
      el("span", { class: "class-chip__swatch", style: { "--swatch": labelClass.color } }),
      labelClass.name,
    );
  }

  private patch(ordinal: number, view: PatchView): string {
    return patchUrl(API, this.projectId, ordinal, view, PATCH_PX, true);
  }

  private show(): void {
    const { review, run, queue } = this;
    if (review === null) return;
    const { ordinal } = run;
    const saving = queue.failing ? ` Not saved (${queue.length}): ${queue.lastError}` : "";
    for (const { image } of this.pictures) image.hidden = ordinal === null;
    if (ordinal === null) {
      const over = el("a", { href: this.element.dataset["doneUrl"] ?? "" }, "See your sessions");
      const end = queue.length > 0 ? "Saving the last ones." : `All ${review.n} are labeled. `;
      this.told.replaceChildren(`${end}${saving}`, ...(queue.length > 0 ? [] : [over]));
      return;
    }
    for (const { image, view } of this.pictures) {
      const url = this.patch(ordinal, view);
      if (image.getAttribute("src") !== url) image.src = url;
    }
    const undo = run.hasPrevious ? " Z goes back." : "";
    const isBroken = this.pictures.some(({ image }) => image.complete && image.naturalWidth === 0);
    const waits = isBroken ? " Its picture does not come; it is asked for again, and keys wait for it." : "";
    this.told.textContent = `${run.nDone + 1} of ${review.n}.${undo}${waits}${saving}`;
  }

  private key(event: KeyboardEvent): void {
    if (event.repeat || this.review === null) return;
    if (belongsToField(event.target) || belongsToControl(event.target, event.key)) return;
    const command = commandFor(event);
    if (command?.name === "undo") this.undo();
    else if (command?.name === "label") {
      const labelClass = this.review.classes.find(({ key }) => key === command.digit);
      if (labelClass !== undefined) this.label(labelClass);
    } else return;
    event.preventDefault();
  }

  private label(labelClass: LabelClass): void {
    const { review, run } = this;
    const { ordinal } = run;
    // Who has not seen a patch yet does not label it.
    if (
      review === null ||
      ordinal === null ||
      !this.pictures.every(({ image }) => image.complete && image.naturalWidth > 0)
    )
      return;
    const action: LabelAction = {
      kind: "label",
      class_value: labelClass.value,
      provenance: "single",
      only_unlabeled: false,
      selection: { source: "quick_review", on_screen: { n: 1 } },
      client_key: newClientKey(),
      worked_s: this.activity.take(),
    };
    this.say("");
    run.forward();
    this.queue.add<ActionResult>({
      clientKey: action.client_key,
      send: () => postAction(API, review.label_set, action, Uint32Array.of(ordinal)),
      onSaved: ({ action_id, n_changed }) => this.made.push(n_changed > 0 ? action_id : null),
      onRefused: (error) => {
        run.returnTo(ordinal);
        this.say(`Not saved: ${messageOf(error)}`);
      },
    });
  }

  private undo(): void {
    const { review, run } = this;
    if (review === null || !run.hasPrevious) return;
    const clientKey = newClientKey();
    const workedS = this.activity.take();
    this.say("");
    run.back();
    this.queue.add<ActionResult | null>({
      clientKey,
      send: () => {
        const last = this.made.at(-1) ?? null;
        return last === null ? Promise.resolve(null) : postUndo(API, review.label_set, clientKey, last, workedS);
      },
      onSaved: () => this.made.pop(),
      onRefused: (error) => {
        run.forward();
        const isOld = error instanceof HttpError && error.status === 409;
        // Z then goes back without undoing: what is labeled again there takes the other's place.
        if (isOld) this.made.fill(null);
        this.say(`Not undone: ${isOld ? "another window of yours has gone on since" : messageOf(error)}`);
      },
    });
  }

  private say(fault: string): void {
    this.fault.textContent = fault;
    this.fault.hidden = fault === "";
  }
}
