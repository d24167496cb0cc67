import { Emitter } from "./emitter";

/** Which patches have been on the screen since the region was made: only those may be called seen in the record. */
export class SeenStore extends Emitter<"seen"> {
  count = 0;
  /** (n_objects) 1 = seen. */
  private marks: Uint8Array = new Uint8Array(0);

  has(ordinal: number): boolean {
    return this.marks[ordinal] === 1;
  }

  mark(ordinals: Iterable<number>): void {
    const before = this.count;
    for (const ordinal of ordinals) {
      if (this.marks[ordinal] !== 0) continue;
      this.marks[ordinal] = 1;
      this.count++;
    }
    if (this.count > before) this.emit("seen");
  }

  /** These are to be looked at anew. Says nothing, as `clear`: the selection, which changes with it, does. */
  forget(ordinals: Iterable<number>): void {
    for (const ordinal of ordinals) {
      this.count -= this.marks[ordinal] ?? 0;
      this.marks[ordinal] = 0;
    }
  }

  clear(): void {
    this.marks.fill(0);
    this.count = 0;
  }

  resize(nObjects: number): void {
    if (nObjects <= this.marks.length) return;
    const marks = new Uint8Array(nObjects);
    marks.set(this.marks);
    this.marks = marks;
  }
}
