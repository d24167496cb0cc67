import { HttpError, isRetriable, messageOf } from "../api/http";
import { Emitter } from "./emitter";

/** Work that must reach the server once, in order: a label action, an undo, a redo. */
export interface QueuedTask<Result> {
  readonly clientKey: string;
  send(): Promise<Result>;
  onSaved(result: Result): void;
  onRefused(error: unknown): void;
}

export interface QueueTimers {
  wait(ms: number): Promise<void>;
}

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 30_000;
/** So often a fault of the server's is met again before one may be left out. */
const STUCK_AFTER = 4;

/** Sends one task at a time, in the order of the gestures. A task whose answer is lost is sent again with the same key,
 * which the server takes as one action; a refused one is handed back and the next one goes on.
 */
export class ActionQueue extends Emitter<"status"> {
  /** Since when the first waiting task has failed to get through. */
  failing = false;
  lastError = "";
  /** Whether it would get through once the person has signed in again. */
  isSignedOut = false;
  /** Whether the server has failed at the first waiting one, itself, so often that it will again: everything after it waits. */
  isStuck = false;
  private readonly tasks: QueuedTask<unknown>[] = [];
  private running = false;
  private wake: (() => void) | null = null;
  private isLeftOut = false;

  constructor(
    private readonly timers: QueueTimers = { wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)) },
  ) {
    super();
  }

  get length(): number {
    return this.tasks.length;
  }

  add<Result>(task: QueuedTask<Result>): void {
    this.tasks.push(task as QueuedTask<unknown>);
    this.emit("status");
    void this.run();
  }

  /** Try again now, for instance because the network is back. */
  retryNow(): void {
    this.wake?.();
  }

  /** Hand the first waiting one back, so that the rest can be saved. */
  leaveOutFirst(): void {
    if (!this.isStuck) return;
    this.isLeftOut = true;
    this.wake?.();
  }

  /** Resolves when nothing waits any more, with true, or when something does not get through, with false. */
  drained(signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (this.tasks.length > 0 && !this.failing) return;
        stop();
        resolve(!this.failing);
      };
      const abort = () => {
        stop();
        reject(signal.reason as Error);
      };
      const forget = this.on("status", look);
      const stop = () => {
        forget();
        signal.removeEventListener("abort", abort);
      };
      signal.addEventListener("abort", abort);
      if (signal.aborted) abort();
      else look();
    });
  }

  private async run(): Promise<void> {
    if (this.running) return;
    this.running = true;
    let attempt = 0;
    let faults = 0;
    while (this.tasks.length > 0) {
      const task = this.tasks[0]!;
      let tell: () => void;
      try {
        const result = await task.send();
        tell = () => task.onSaved(result);
      } catch (error) {
        if (isRetriable(error)) {
          this.failing = true;
          this.lastError = messageOf(error);
          this.isSignedOut = error instanceof HttpError && error.status === 401;
          if (error instanceof HttpError && error.status === 500) this.isStuck = ++faults > STUCK_AFTER;
          this.emit("status");
          if (!this.isLeftOut) await this.pause(Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt++));
          if (!this.isLeftOut) continue;
        }
        tell = () => task.onRefused(error);
      }
      attempt = faults = 0;
      this.isStuck = this.isLeftOut = false;
      this.finish(tell);
    }
    this.running = false;
  }

  private finish(tell: () => void): void {
    this.tasks.shift();
    this.failing = false;
    try {
      tell();
      this.emit("status");
    } catch (error) {
      // A fault of whoever listens: what the server said stands, and the next gesture must still reach it.
      console.error("PatchSorter could not show what became of a gesture:", error);
    }
  }

  private async pause(ms: number): Promise<void> {
    await Promise.race([
      this.timers.wait(ms),
      new Promise<void>((resolve) => {
        this.wake = resolve;
      }),
    ]);
    this.wake = null;
  }
}
