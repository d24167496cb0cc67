import type { Proposal, Suggestions } from "../api/types";
import { count } from "../lib/format";
import { Emitter } from "./emitter";

/** What to look at next, as the server proposes it, and what of it the person has seen and left out. */
export class SuggestionStore extends Emitter<"suggestions"> {
  status: "loading" | "ready" | "failed" = "loading";
  proposals: readonly Proposal[] = [];
  message = "";
  /** Whether labels or predictions have changed since. */
  isOld = true;
  private readonly left = new Map<string, Set<number>>();
  private exhausted: readonly Proposal[] = [];

  get recommended(): Proposal | undefined {
    return this.proposals.find((proposal) => !this.exhausted.includes(proposal));
  }

  /** What somebody has read, as it stands now; undefined where it is gone. */
  again(read: Proposal): Proposal | undefined {
    return this.proposals.find((now) => isOfSame(now, read) && !this.exhausted.includes(now));
  }

  set({ proposals, message }: Suggestions): void {
    this.status = "ready";
    this.proposals = proposals;
    this.message = message;
    // The same page again is as exhausted as it was: the bar must not promise it. A sample may be drawn anew.
    this.exhausted = proposals.filter(
      (proposal) => proposal.kind !== "sample" && this.exhausted.some((before) => isSame(before, proposal)),
    );
    if (proposals.length > 0 && this.recommended === undefined) this.beginAnew();
    this.isOld = false;
    this.emit("suggestions");
  }

  /** What was proposed may hold no more. `isBegun`: there was nothing to propose from yet, and now there is. */
  age(isBegun = false): void {
    this.isOld = true;
    if (isBegun && this.proposals.length === 0) this.status = "loading";
    this.emit("suggestions");
  }

  fail(): void {
    this.status = "failed";
    this.emit("suggestions");
  }

  /** Seen on a page of this kind, and left as they are: such a page does not show them again. */
  passOver(proposal: Proposal, ordinals: Iterable<number>): void {
    // Before a sample is drawn nobody has looked at anything.
    if (proposal.kind === "sample") return;
    const key = keyOf(proposal);
    const left = this.left.get(key) ?? new Set();
    for (const ordinal of ordinals) left.add(ordinal);
    this.left.set(key, left);
  }

  /** Ascending. A sample is drawn of all that the server has not been told to be of another class. */
  passed(proposal: Proposal): Uint32Array {
    return Uint32Array.from(proposal.kind === "sample" ? [] : (this.left.get(keyOf(proposal)) ?? [])).sort();
  }

  /** Nothing of it was left that had not been passed over: the next is recommended. After the last the round begins anew. */
  exhaust(proposal: Proposal): void {
    this.exhausted = [...this.exhausted, proposal];
    if (this.recommended === undefined) this.beginAnew();
    this.emit("suggestions");
  }

  private beginAnew(): void {
    this.exhausted = [];
    this.left.clear();
  }

  /** What was passed over may be shown again. */
  forgetPassed(proposal: Proposal): void {
    this.left.delete(keyOf(proposal));
  }
}

/** Whether both propose the same, be it more or fewer by now. */
export const isOfSame = (a: Proposal, b: Proposal): boolean =>
  a.kind === b.kind && a.class_value === b.class_value && a.group === b.group;

const isSame = (a: Proposal, b: Proposal): boolean => isOfSame(a, b) && a.n === b.n;

/** Who left a patch out as not being of a class left it out of all pages of that class. */
function keyOf({ kind, class_value }: Proposal): string {
  return class_value === null ? kind : `class ${class_value}`;
}

/** A proposal's title where so many of its objects came: some may be labeled or passed over by then. */
export function titleOf({ n, title }: Proposal, came: number): string {
  if (came < n) return `${count(came)} of ${title}`;
  return came === n ? title : title.replace(count(n), count(came));
}
