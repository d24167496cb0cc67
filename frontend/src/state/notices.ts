import { Emitter } from "./emitter";

/** What a message is about. A newer one about the same takes the place of the older. */
export type NoticeTopic = "labels" | "hint" | "save" | "job" | "map" | "access" | "search";

export interface Notice {
  readonly text: string;
  readonly tone: "plain" | "success" | "warning" | "danger";
  readonly topic: NoticeTopic;
  readonly action?: { readonly text: string; run(): void };
  /** Infinity: until its topic is over, or somebody dismisses it. */
  readonly durationMs?: number;
}

const DURATION_MS = 4000;
/** What went wrong must be readable to the end. */
const DANGER_MS = 8000;
const READ_MS = 2000;
const MOST = 2;

const durationOf = (notice: Notice): number =>
  notice.durationMs ?? (notice.tone === "danger" ? DANGER_MS : DURATION_MS);
const isEndless = (notice: Notice): boolean => notice.durationMs === Number.POSITIVE_INFINITY;

/** The short messages on the screen, oldest first: two at most, each gone after a while. */
export class NoticeStore extends Emitter<"notices"> {
  shown: readonly Notice[] = [];
  private readonly timers = new Map<Notice, ReturnType<typeof setTimeout>>();

  show(notice: Notice): void {
    for (const other of this.shown) if (other.topic === notice.topic) this.forget(other);
    while (this.shown.length >= MOST) {
      // Something that went wrong makes way last.
      this.forget(this.shown.find((other) => other.tone !== "danger") ?? this.shown[0]!);
    }
    this.shown = [...this.shown, notice];
    this.startClock(notice, durationOf(notice));
    this.emit("notices");
  }

  dismiss(notice: Notice): void {
    if (!this.shown.includes(notice)) return;
    this.forget(notice);
    this.emit("notices");
  }

  /** What they were about is over. */
  dismissTopic(topic: NoticeTopic): void {
    for (const notice of this.shown) if (notice.topic === topic) this.dismiss(notice);
  }

  /** Reading stops the clock. */
  hold(notice: Notice): void {
    clearTimeout(this.timers.get(notice));
  }

  release(notice: Notice): void {
    if (this.shown.includes(notice)) this.startClock(notice, isEndless(notice) ? durationOf(notice) : READ_MS);
  }

  clear(): void {
    for (const notice of this.shown) this.dismiss(notice);
  }

  private startClock(notice: Notice, ms: number): void {
    clearTimeout(this.timers.get(notice));
    if (!Number.isFinite(ms)) return; // a timer would take it for 0
    this.timers.set(
      notice,
      setTimeout(() => this.dismiss(notice), ms),
    );
  }

  private forget(notice: Notice): void {
    clearTimeout(this.timers.get(notice));
    this.timers.delete(notice);
    this.shown = this.shown.filter((other) => other !== notice);
  }
}
