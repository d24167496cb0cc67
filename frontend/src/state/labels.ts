import { Emitter } from "./emitter";

/** A change that was shown before the server confirmed it. */
export interface PendingChange {
  readonly ordinals: Uint32Array;
  readonly classValue: number;
}

/** The labels on the screen: what the server confirmed, with the pending changes laid over it in their order.
 *
 * Two arrays of one byte per object, so that a refused change can be taken back whatever came after it.
 */
export class LabelsStore extends Emitter<"labels"> {
  /** (n_objects) class value, 0 = unlabeled: what the screen shows. */
  shown: Uint8Array = new Uint8Array(0);
  revision = -1;
  private confirmed: Uint8Array = new Uint8Array(0);
  private pending: PendingChange[] = [];

  get n(): number {
    return this.shown.length;
  }

  /** The whole label set as the server has it. */
  load(classes: Uint8Array, revision: number, nObjects: number): void {
    this.confirmed = new Uint8Array(Math.max(nObjects, classes.length));
    this.confirmed.set(classes);
    this.shown = this.confirmed.slice();
    for (const change of this.pending) this.paint(this.shown, change);
    this.revision = revision;
    this.emit("labels");
  }

  resize(nObjects: number): void {
    if (nObjects <= this.n) return;
    const grow = (old: Uint8Array) => {
      const next = new Uint8Array(nObjects);
      next.set(old);
      return next;
    };
    this.confirmed = grow(this.confirmed);
    this.shown = grow(this.shown);
    this.emit("labels");
  }

  /** Show a change at once. Keep what it returns: it names the change for confirm and reject. */
  propose(ordinals: Uint32Array, classValue: number): PendingChange {
    const change: PendingChange = { ordinals, classValue };
    this.pending.push(change);
    this.paint(this.shown, change);
    this.emit("labels");
    return change;
  }

  confirm(change: PendingChange): void {
    this.pending = this.pending.filter((p) => p !== change);
    this.paint(this.confirmed, change);
    this.repaint(change.ordinals);
    this.emit("labels");
  }

  reject(change: PendingChange): void {
    this.pending = this.pending.filter((p) => p !== change);
    this.repaint(change.ordinals);
    this.emit("labels");
  }

  /** Changes that came from the server, latest per object. */
  apply(ordinals: Uint32Array, classes: Uint8Array, revision: number): void {
    for (let i = 0; i < ordinals.length; i++) {
      if (ordinals[i]! < this.confirmed.length) this.confirmed[ordinals[i]!] = classes[i]!;
    }
    this.revision = revision;
    this.repaint(ordinals);
    this.emit("labels");
  }

  /** (256) objects per class value; entry 0 counts the unlabeled. */
  counts(): Uint32Array {
    const counts = new Uint32Array(256);
    for (let i = 0; i < this.shown.length; i++) counts[this.shown[i]!]!++;
    return counts;
  }

  private paint(target: Uint8Array, change: PendingChange): void {
    for (const ordinal of change.ordinals) target[ordinal] = change.classValue;
  }

  private repaint(ordinals: Uint32Array): void {
    for (const ordinal of ordinals) this.shown[ordinal] = this.confirmed[ordinal]!;
    for (const change of this.pending) this.paint(this.shown, change);
  }
}
