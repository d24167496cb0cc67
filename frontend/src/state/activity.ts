/** Who looks without a move of the hand is still at work for so long; then they are taken to be elsewhere. */
const STILL_MS = 60_000;

/** How long somebody is at work: the page is in sight, and a hand moved not long ago. The page says both (`sign`, `tick`). */
export class Activity {
  private workedMs = 0;
  private isInSight = true;
  private lastTick: number;
  private lastSign: number;

  constructor(private readonly now: () => number = () => performance.now()) {
    this.lastTick = this.lastSign = now();
  }

  /** A hand moved. */
  sign(): void {
    this.tick();
    this.lastSign = this.now();
  }

  /** Counts the time since the last tick, if the page was in sight then; `isInSight`: whether it is from now on. */
  tick(isInSight = this.isInSight): void {
    const now = this.now();
    if (this.isInSight) this.workedMs += Math.max(0, Math.min(now, this.lastSign + STILL_MS) - this.lastTick);
    this.isInSight = isInSight;
    this.lastTick = now;
  }

  /** Seconds of work since this was asked last: what goes with a gesture, each of them once. */
  take(): number {
    this.tick();
    const seconds = Math.round(this.workedMs / 100) / 10;
    this.workedMs = 0;
    return seconds;
  }
}

/** The signs of the browser's window, until `signal`. */
export function watchActivity(activity: Activity, signal: AbortSignal): void {
  for (const name of ["pointermove", "pointerdown", "wheel", "keydown"])
    window.addEventListener(name, () => activity.sign(), { passive: true, capture: true, signal });
  document.addEventListener("visibilitychange", () => activity.tick(document.visibilityState === "visible"), {
    signal,
  });
}
