import type { SelectionSource } from "../api/labels";
import type { Proposal } from "../api/types";
import type { Polygon } from "../lib/geometry";
import { Emitter } from "./emitter";

export type LassoOp = "new" | "add" | "subtract";

export type RectangleMode = "replace" | "add" | "subtract";

export interface LassoStep {
  readonly op: LassoOp;
  readonly points: Polygon;
}

/** Pages to confirm and others that are proposed: of these, what was not on the screen is not labeled. */
export const PAGES: ReadonlySet<SelectionSource> = new Set(["review", "suggested"]);

/** Regions that are made for a purpose: a filter of the map must not take something out of them. */
export const UNFILTERED: ReadonlySet<SelectionSource> = new Set([...PAGES, "undone", "sample"]);

/** What was searched with. */
export interface SimilarQuery {
  readonly to: { readonly ordinals: Uint32Array } | { readonly pictureJob: number | string; readonly name: string };
  readonly k: number;
  readonly unlabeled: boolean;
}

/** What is known about a region beside its objects. */
export interface RegionDetails {
  readonly steps?: LassoStep[];
  /** What the region is to be confirmed as. */
  readonly reviewClass?: number | null;
  /** The proposal that the region is the page of. */
  readonly proposal?: Proposal | null;
  readonly query?: SimilarQuery | null;
  /** The name of the image whose objects the region has. */
  readonly imageName?: string | null;
  readonly keepPicks?: boolean;
  readonly pickAll?: boolean;
}

/** One that is being drawn. */
interface Rectangle {
  /** null: its first tile will say. */
  mode: RectangleMode | null;
  /** Whether its tiles were picked when they came under it, by ordinal. */
  readonly before: Map<number, boolean>;
  /** Brings back what it made way for; null until it does something. */
  takeBack: (() => void) | null;
}

/** Two selections, one inside the other.
 *
 * The region: objects in the order the grid shows them (a lasso, a filter, or everything).
 * The picks: those of the region that a key will label. Ordinals stay valid when a new map arrives.
 *
 * Picks that were just labeled are held: another key corrects a wrong one at once, but whatever picks or moves next
 * starts anew, so that nobody labels them again without meaning to.
 */
export class SelectionStore extends Emitter<"region" | "rest" | "picks" | "cursor" | "focus"> {
  source: SelectionSource = "all";
  /** The region in display order. */
  order: Uint32Array = new Uint32Array(0);
  /** The lassos that made the region, in data coordinates; emptied when a new map makes them meaningless. */
  steps: LassoStep[] = [];
  reviewClass: number | null = null;
  proposal: Proposal | null = null;
  query: SimilarQuery | null = null;
  imageName: string | null = null;
  /** (n_objects) 1 = picked. */
  picked: Uint8Array = new Uint8Array(0);
  pickedCount = 0;
  /** Whether the picks were labeled already: they stay until the next gesture. */
  held = false;
  /** Index into `order` of the tile that the arrow keys move, or -1. */
  cursor = -1;
  /** Whether the keyboard put the cursor there: then a label key may act on it alone. */
  cursorByKeyboard = false;
  /** The ordinal under the pointer, in the map or in the grid, or -1. */
  focus = -1;

  /** (n_objects) 1 = picked by the page itself, for its class; null where no page did. */
  private offered: Uint8Array | null = null;
  private answered: Uint32Array = new Uint32Array(0);
  private allChosen = false;
  private anchor = -1;
  /** Whether the keyboard would go on with the range from there: it has not gone elsewhere, nor been brought there. */
  rangeIsOpen = false;
  private ranks: Int32Array | null = null;
  private rectangle: Rectangle | null = null;
  /** What waits for the end of the rectangle. */
  private afterwards: (() => void)[] = [];

  get size(): number {
    return this.order.length;
  }

  /** Whether the region is narrower than the project: the map then dims the rest. */
  get isRegion(): boolean {
    return this.source !== "all";
  }

  resize(nObjects: number): void {
    if (nObjects <= this.picked.length) return;
    this.picked = longer(this.picked, nObjects);
    if (this.offered !== null) this.offered = longer(this.offered, nObjects);
    this.ranks = null;
  }

  /** Whether a click leaves one out, or takes it in again, rather than selecting it alone. */
  get isByException(): boolean {
    const isPageOfClass = this.source === "suggested" && this.reviewClass !== null;
    return this.source === "review" || this.source === "sample" || isPageOfClass;
  }

  /** A new region. Picks that are still in it stay picked when `keepPicks` is set. */
  setRegion(order: Uint32Array, source: SelectionSource, details: RegionDetails = {}): void {
    this.order = order;
    this.source = source;
    this.steps = details.steps ?? [];
    this.reviewClass = details.reviewClass ?? null;
    this.proposal = details.proposal ?? null;
    this.query = details.query ?? null;
    this.imageName = details.imageName ?? null;
    this.ranks = null;
    this.cursor = -1;
    this.anchor = -1;
    this.rangeIsOpen = false;
    this.cursorByKeyboard = false;
    if (details.keepPicks === true && !this.held && this.pickedCount > 0) this.keepOnly(order);
    else this.dropPicks();
    this.withdraw();
    if (details.pickAll === true) this.putAll(order);
    this.emitRegion();
    this.emit("picks");
    this.emit("cursor");
    this.setFocus(-1); // what the pointer was over has made way
  }

  /** The same objects in another order: picks and cursor follow their objects. */
  reorder(order: Uint32Array): void {
    this.takeOrder(order);
    this.emitRegion();
    this.emit("cursor");
  }

  /** The same, where only tiles below those on the screen change places: nothing scrolls. */
  reorderRest(order: Uint32Array): void {
    this.takeOrder(order);
    this.emit("rest");
  }

  private takeOrder(order: Uint32Array): void {
    const at = this.cursor >= 0 ? this.order[this.cursor]! : -1;
    const anchor = this.anchor >= 0 ? this.order[this.anchor]! : -1;
    this.order = order;
    this.ranks = null;
    this.cursor = at < 0 ? -1 : this.rankOf(at);
    this.anchor = anchor < 0 ? -1 : this.rankOf(anchor);
  }

  forgetSteps(): void {
    this.steps = [];
    this.emitRegion();
  }

  /** A rectangle over tiles that are not there any more ends where it is: its picks must not be those of others. */
  private emitRegion(): void {
    const wasDrawing = this.isDrawing;
    this.rectangle = null;
    this.emit("region");
    if (wasDrawing) this.goOn();
  }

  /** The place of an object in the region, or -1. */
  rankOf(ordinal: number): number {
    if (this.ranks === null) {
      const ranks = new Int32Array(this.picked.length).fill(-1);
      for (let i = 0; i < this.order.length; i++) ranks[this.order[i]!] = i;
      this.ranks = ranks;
    }
    return this.ranks[ordinal] ?? -1;
  }

  isPicked(ordinal: number): boolean {
    return this.picked[ordinal] === 1;
  }

  /** The picked ordinals in display order. */
  picks(): Uint32Array {
    const found = new Uint32Array(this.pickedCount);
    let k = 0;
    for (const ordinal of this.order) if (this.picked[ordinal] === 1) found[k++] = ordinal;
    return found.subarray(0, k);
  }

  /** The picks have been labeled. */
  hold(): void {
    this.held = this.pickedCount > 0;
  }

  /** The labels of the picks were taken back: they are as before. */
  release(): void {
    this.held = false;
    this.emit("picks");
  }

  pickAll(): void {
    this.held = false;
    for (const ordinal of this.order) this.picked[ordinal] = 1;
    this.pickedCount = this.order.length;
    this.forgetLeftOut();
    this.allChosen = true;
    this.emit("picks");
  }

  invert(): void {
    this.held = false;
    this.withdraw();
    let n = 0;
    for (const ordinal of this.order) n += this.picked[ordinal] ^= 1;
    this.pickedCount = n;
    this.emit("picks");
  }

  clearPicks(): void {
    this.withdraw();
    if (this.pickedCount === 0) return;
    this.dropPicks();
    this.emit("picks");
  }

  /** A plain click: this one alone, or none when it was the only one (and not just labeled). */
  pickOnly(index: number): void {
    const ordinal = this.order[index]!;
    const wasOnly = !this.held && this.pickedCount === 1 && this.picked[ordinal] === 1;
    this.dropPicks();
    if (!wasOnly) this.put(ordinal, true);
    this.anchor = index;
    this.rangeIsOpen = true;
    this.emit("picks");
  }

  toggle(index: number): void {
    this.dropHeld();
    this.allChosen = false;
    const ordinal = this.order[index]!;
    this.put(ordinal, this.picked[ordinal] === 0);
    this.anchor = index;
    this.rangeIsOpen = true;
    this.emit("picks");
  }

  /** Whether what is picked now stays unless it is taken out. */
  private get isLeavingOut(): boolean {
    return this.isByException && !this.held && (this.source === "sample" || this.isOffered);
  }

  /** A range begins at this tile, which is in it: picked, or taken out where one leaves out. */
  beginRange(index: number): void {
    const isOut = this.isLeavingOut && this.source !== "sample";
    this.anchor = index;
    this.rangeIsOpen = true;
    if (isOut) this.allChosen = false;
    this.put(this.order[index]!, !isOut);
    this.emit("picks");
  }

  /** From the last clicked tile to this one, added to the picks; where one leaves out, taken out like that one or in again. */
  pickRange(index: number): void {
    const { isLeavingOut } = this;
    this.dropHeld();
    const from = this.anchor < 0 ? index : this.anchor;
    const anchorIsPicked = this.isPicked(this.order[from]!);
    // Without a tile to begin at, it is a click.
    const on = !isLeavingOut || (this.anchor < 0 ? !anchorIsPicked : anchorIsPicked);
    if (!on) this.allChosen = false;
    for (let i = Math.min(from, index); i <= Math.max(from, index); i++) this.put(this.order[i]!, on);
    if (this.anchor < 0) this.anchor = index;
    this.rangeIsOpen = true;
    this.emit("picks");
  }

  /** A rectangle is being drawn: what it picks is not meant yet. */
  get isDrawing(): boolean {
    return this.rectangle !== null;
  }

  /** @param mode null: on a page by exception, the first tile that it meets says whether it leaves out or takes in again */
  beginRectangle(mode: RectangleMode | null): void {
    this.rectangle = { mode, before: new Map(), takeBack: null };
  }

  /** A rectangle covers these tiles now; what it no longer covers is as it was. Others may change beside it.
   * @param first the tile nearest to where it began, -1 where it covers none; asked until one says what it does */
  stretchRectangle(indices: readonly number[], first: () => number): void {
    const { rectangle } = this;
    if (rectangle === null) return;
    rectangle.mode ??= this.modeFrom(first());
    const { mode, before } = rectangle;
    if (mode === null) return;
    rectangle.takeBack ??= this.makeWay(mode);
    const covered = new Set(indices.map((index) => this.order[index]!));
    for (const [ordinal, wasPicked] of before) {
      if (covered.has(ordinal)) continue;
      this.put(ordinal, wasPicked);
      before.delete(ordinal);
    }
    for (const ordinal of covered) {
      if (!before.has(ordinal)) before.set(ordinal, this.isPicked(ordinal));
      this.put(ordinal, mode !== "subtract");
    }
    if (covered.size > 0) this.allChosen = false;
    this.emit("picks");
  }

  endRectangle(): void {
    this.rectangle = null;
    this.goOn();
  }

  /** Change the picks for another reason than the person's own gesture: at once, or after the rectangle that is being drawn,
   * which gives back what it found where it is given up. */
  afterRectangle(change: () => void): void {
    if (this.isDrawing) this.afterwards.push(change);
    else change();
  }

  private goOn(): void {
    this.emit("picks");
    const { afterwards } = this;
    this.afterwards = [];
    for (const change of afterwards) change();
  }

  /** As if it had not been drawn. */
  giveUpRectangle(): void {
    const { rectangle } = this;
    if (rectangle === null) return;
    this.rectangle = null;
    for (const [ordinal, wasPicked] of rectangle.before) this.put(ordinal, wasPicked);
    rectangle.takeBack?.();
    this.goOn();
  }

  /** What a rectangle does that no key says more of: on a page by exception, to all of its tiles what a click does to the first. */
  private modeFrom(first: number): RectangleMode | null {
    if (!this.isByException || this.held) return "replace";
    if (first < 0) return null;
    return this.picked[this.order[first]!] === 1 ? "subtract" : "add";
  }

  /** Makes way for a rectangle's picks, and returns what brings back what it made way for. To take some out of what was just
   * labeled is a gesture about the rest of it. */
  private makeWay(mode: RectangleMode): () => void {
    const { held, pickedCount, offered, answered, allChosen } = this;
    if (mode === "replace" || (held && mode === "add")) {
      const picked = this.picked.slice();
      this.dropPicks();
      return () => {
        this.picked.set(picked); // there may be more objects by now
        this.pickedCount = pickedCount;
        this.held = held;
        this.offered = offered;
        this.answered = answered;
        this.allChosen = allChosen;
      };
    }
    this.held = false;
    return () => {
      this.held = held;
      this.allChosen = allChosen;
    };
  }

  /** Leaves out the picks that do not pass. Returns how many those were. */
  keepPicked(passes: (ordinal: number) => boolean): number {
    const before = this.pickedCount;
    for (const ordinal of this.order) if (this.picked[ordinal] === 1 && !passes(ordinal)) this.put(ordinal, false);
    if (this.pickedCount < before) this.emit("picks");
    return before - this.pickedCount;
  }

  pickOrdinals(ordinals: Iterable<number>): void {
    this.dropPicks();
    for (const ordinal of ordinals) if (this.rankOf(ordinal) >= 0) this.put(ordinal, true);
    this.emit("picks");
  }

  /** Whoever goes to another patch is done with the ones just labeled. */
  setCursor(index: number, byKeyboard: boolean): void {
    if (this.held) this.clearPicks();
    this.cursor = index;
    this.cursorByKeyboard = byKeyboard;
    if (byKeyboard || index !== this.anchor) this.rangeIsOpen = false;
    if (!byKeyboard) this.anchor = index;
    this.emit("cursor");
  }

  setFocus(ordinal: number): void {
    if (ordinal === this.focus) return;
    this.focus = ordinal;
    this.emit("focus");
  }

  /** A page's objects, picked for its class. */
  offer(ordinals: Uint32Array): void {
    this.dropPicks();
    this.putAll(ordinals);
    this.emit("picks");
  }

  /** More objects of the page, beside those that it offers already. */
  offerToo(ordinals: Uint32Array): void {
    this.changeOffer(ordinals, true);
  }

  /** Objects of the page that got their label otherwise. */
  offerNoMore(ordinals: Uint32Array): void {
    this.changeOffer(ordinals, false);
  }

  /** Where the person has picked otherwise since, there is no offer to change. */
  private changeOffer(ordinals: Uint32Array, isOffered: boolean): void {
    if (this.offered === null || this.held || ordinals.length === 0) return;
    for (const ordinal of ordinals) {
      this.put(ordinal, isOffered);
      this.offered[ordinal] = Number(isOffered);
    }
    this.emit("picks");
  }

  /** What was taken out of a page's picks since they were offered: the wrong ones. */
  get leftOut(): Uint32Array {
    const { offered, picked } = this;
    if (offered === null || this.held) return new Uint32Array(0);
    return this.order.filter((ordinal) => offered[ordinal] === 1 && picked[ordinal] === 0);
  }

  /** Whether a page's own picks are on offer, or were confirmed, and the person has picked nothing else since. */
  get isOffered(): boolean {
    return this.offered !== null;
  }

  /** Whether the person picked all of a page by hand: then its picks are not only the page's own. */
  get isAllChosen(): boolean {
    return this.allChosen;
  }

  /** What was left out last and got a class of its own, which another key corrects. */
  get lastAnswered(): Uint32Array {
    return this.answered;
  }

  /** What was left out so far has been dealt with; `answered` of it got a class of its own. */
  forgetLeftOut(answered: Uint32Array = new Uint32Array(0)): void {
    if (this.offered === null) return;
    if (!this.held) this.offered = this.picked.slice();
    this.answered = answered;
  }

  /** Whatever is picked now, the person picks. */
  private withdraw(): void {
    this.offered = null;
    this.answered = new Uint32Array(0);
    this.allChosen = false;
  }

  private putAll(ordinals: Uint32Array): void {
    for (const ordinal of ordinals) this.put(ordinal, true);
    this.offered = this.picked.slice();
  }

  private put(ordinal: number, on: boolean): void {
    const value = on ? 1 : 0;
    if (this.picked[ordinal] === value) return;
    this.picked[ordinal] = value;
    this.pickedCount += on ? 1 : -1;
  }

  private dropHeld(): void {
    if (this.held) this.dropPicks();
  }

  private dropPicks(): void {
    this.held = false;
    this.withdraw();
    if (this.pickedCount > 0) this.picked.fill(0);
    this.pickedCount = 0;
  }

  private keepOnly(order: Uint32Array): void {
    const kept = new Uint8Array(this.picked.length);
    let n = 0;
    for (const ordinal of order) {
      if (this.picked[ordinal] === 1) {
        kept[ordinal] = 1;
        n++;
      }
    }
    this.picked = kept;
    this.pickedCount = n;
  }
}

function longer(flags: Uint8Array, n: number): Uint8Array {
  const more = new Uint8Array(n);
  more.set(flags);
  return more;
}
