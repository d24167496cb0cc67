/** So long a patch is in view before it counts as seen. */
export const GLANCE_MS = 100;

/** Which patches have been in view long enough to be seen: what flies by, or is covered in the next moment, has not. */
export class Glances {
  /** Since when the patches that are in view have been, by ordinal. */
  private since = new Map<number, number>();

  /** Those of `inView`, all that are in view at the time `now` in ms, that have been there long enough. */
  seenAmong(inView: readonly number[], now: number): number[] {
    this.since = new Map(inView.map((ordinal) => [ordinal, this.since.get(ordinal) ?? now]));
    return inView.filter((ordinal) => now - this.since.get(ordinal)! >= GLANCE_MS);
  }

  /** Other patches have come, or the same ones to other places. */
  beginAnew(): void {
    this.since.clear();
  }
}
