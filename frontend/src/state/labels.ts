import type { ChangesBuffer, LabelsBuffer } from "../lib/wire";
import { Emitter } from "./emitter";

/** A change that was shown before the server confirmed it. */
export interface PendingChange {
  readonly ordinals: Uint32Array;
  readonly classValue: number;
}

/** The labels on the screen: what the server confirmed, with the pending changes laid over it in their order.
 *
 * Two arrays of one byte per object, so that a refused change can be taken back whatever came after it. What was accepted
 * by sample has a bit of its own, which any gesture of one's own clears.
 */
export class LabelsStore extends Emitter<"labels"> {
  /** (n_objects) class value, 0 = unlabeled: what the screen shows. */
  shown: Uint8Array = new Uint8Array(0);
  /** (n_objects) 1 = the label shown was accepted by sample, its patch unseen. */
  unseen: Uint8Array = new Uint8Array(0);
  /** Whether there may be any such label. */
  hasUnseen = false;
  revision = -1;
  private confirmed: Uint8Array = new Uint8Array(0);
  private confirmedUnseen: Uint8Array = new Uint8Array(0);
  private pending: PendingChange[] = [];

  get n(): number {
    return this.shown.length;
  }

  /** The whole label set as the server has it. */
  load({ classes, unseen, revision }: LabelsBuffer, nObjects: number): void {
    this.confirmed = new Uint8Array(Math.max(nObjects, classes.length));
    this.confirmed.set(classes);
    this.confirmedUnseen = new Uint8Array(this.confirmed.length);
    this.confirmedUnseen.set(unseen);
    this.hasUnseen = unseen.includes(1);
    this.shown = this.confirmed.slice();
    this.unseen = this.confirmedUnseen.slice();
    for (const change of this.pending) this.paint(this.shown, this.unseen, change);
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
    this.confirmedUnseen = grow(this.confirmedUnseen);
    this.shown = grow(this.shown);
    this.unseen = grow(this.unseen);
    this.emit("labels");
  }

  /** Show a change at once. Keep what it returns: it names the change for confirm and reject. */
  propose(ordinals: Uint32Array, classValue: number): PendingChange {
    const change: PendingChange = { ordinals, classValue };
    this.pending.push(change);
    this.paint(this.shown, this.unseen, change);
    this.emit("labels");
    return change;
  }

  confirm(change: PendingChange): void {
    this.pending = this.pending.filter((p) => p !== change);
    this.paint(this.confirmed, this.confirmedUnseen, change);
    this.repaint(change.ordinals);
    this.emit("labels");
  }

  reject(change: PendingChange): void {
    this.pending = this.pending.filter((p) => p !== change);
    this.repaint(change.ordinals);
    this.emit("labels");
  }

  /** Changes that came from the server, latest per object, of objects that there is room for. */
  apply({ ordinals, classes, unseen }: Omit<ChangesBuffer, "revision">, revision: number): void {
    this.hasUnseen ||= unseen.includes(1);
    for (let i = 0; i < ordinals.length; i++) {
      this.confirmed[ordinals[i]!] = classes[i]!;
      this.confirmedUnseen[ordinals[i]!] = unseen[i]!;
    }
    this.revision = revision;
    this.repaint(ordinals);
    this.emit("labels");
  }

  /** Those of the objects that have no label. */
  unlabeledOf(ordinals: Uint32Array): Uint32Array {
    return ordinals.filter((ordinal) => this.shown[ordinal] === 0);
  }

  /** (256) objects per class value; entry 0 counts the unlabeled. */
  counts(): Uint32Array {
    const counts = new Uint32Array(256);
    for (let i = 0; i < this.shown.length; i++) counts[this.shown[i]!]!++;
    return counts;
  }

  /** (256) objects per class value whose label was accepted by sample, unseen. */
  unseenCounts(): Uint32Array {
    const counts = new Uint32Array(256);
    for (let i = 0; i < this.shown.length; i++) counts[this.shown[i]!]! += this.unseen[i]!;
    return counts;
  }

  private paint(classes: Uint8Array, unseen: Uint8Array, change: PendingChange): void {
    for (const ordinal of change.ordinals) {
      classes[ordinal] = change.classValue;
      unseen[ordinal] = 0;
    }
  }

  private repaint(ordinals: Uint32Array): void {
    for (const ordinal of ordinals) {
      this.shown[ordinal] = this.confirmed[ordinal]!;
      this.unseen[ordinal] = this.confirmedUnseen[ordinal]!;
    }
    for (const change of this.pending) this.paint(this.shown, this.unseen, change);
  }
}
