import { messageOf } from "../../api/http";
import { fetchSuggestedPage, fetchSuggestions } from "../../api/suggestions";
import type { Proposal } from "../../api/types";
import { count } from "../../lib/format";
import { isOfSame, type SuggestionStore } from "../../state/suggestions";
import type { WorkspaceController } from "./controller";
import { Part } from "./part";

/** What to look at next is asked again when labels and predictions have been still for so long. */
const SETTLED_MS = 400;
/** So many of a page have to be expected to be right for it to be confirmed as a whole: to take every other patch out is more
 * work than a key for each, and who is in a hurry confirms what is wrong. */
const CONFIRMED_FROM = 2 / 3;

interface NextPage {
  readonly proposal: Proposal;
  readonly page: Uint32Array;
  /** So many of its kind were passed over before. */
  readonly nPassed: number;
  /** What was recommended, where all of that was passed over. */
  readonly instead: Proposal | undefined;
}

/** What to look at next: asks for it, and brings it onto the screen. */
export class WhatIsNext extends Part {
  private timer: number | undefined;
  private request: AbortController | null = null;
  private renewal: Promise<void> = Promise.resolve();
  /** What a manager allows, as it was when the suggestions were asked for. */
  private sampled = { allowed: false, maxError: 0 };

  constructor(controller: WorkspaceController) {
    super(controller);
    this.labels.on("labels", () => this.age());
    this.project.on(["predictions", "objects"], () => this.age());
    this.project.on("embedding", () => this.age(true));
    this.project.on("state", () => {
      const { allowed, max_error: maxError } = this.project.sampled;
      if (allowed === this.sampled.allowed && maxError === this.sampled.maxError) return;
      this.sampled = { allowed, maxError };
      this.age();
    });
  }

  destroy(): void {
    window.clearTimeout(this.timer);
  }

  private get suggestions(): SuggestionStore {
    return this.controller.suggestions;
  }

  /** What was proposed may hold no more: it is asked again in a moment. `isNewMap`: the answer may take a while longer. */
  age(isNewMap = false): void {
    if (this.project.status !== "ready") return;
    this.suggestions.age(isNewMap && this.project.previewJob === null);
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.renew(), SETTLED_MS);
  }

  /** Resolves when the newest answer is there, also where it was asked for meanwhile. */
  renew(): Promise<void> {
    this.renewal = this.askWhatIsNext();
    return this.renewal;
  }

  private async askWhatIsNext(): Promise<void> {
    window.clearTimeout(this.timer);
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const signal = AbortSignal.any([request.signal, this.signal]);
    try {
      this.suggestions.set(await fetchSuggestions(this.config.api, this.config.projectId, { signal }));
    } catch (error) {
      if (this.signal.aborted) return;
      if (request.signal.aborted) return this.renewal;
      console.warn("PatchSorter could not ask what is next:", messageOf(error));
      this.suggestions.fail();
    }
  }

  /** Shows a proposed page: the one given, or the one that is recommended. */
  async take(chosen?: Proposal): Promise<void> {
    this.passOver();
    const read = this.readInBar();
    const ask = async (signal: AbortSignal) => {
      if (chosen === undefined && this.suggestions.isOld) await this.renew();
      signal.throwIfAborted();
      const found = await this.nextPage(chosen, read, signal);
      if (found === undefined || found.page.length === 0 || this.leftOf(found).length > 0) return found;
      // All of it has a label by now: the last keys were still on their way to the server when it was asked.
      if (!(await this.controller.queue.drained(signal))) return found;
      await this.renew();
      signal.throwIfAborted();
      return this.nextPage(chosen, read, signal);
    };
    const found = await this.controller.region.ask("The page", ask, "Looking for what is next …");
    if (found === null) return;
    if (found === undefined) {
      const failed = this.suggestions.status === "failed";
      const text = failed
        ? "What is next could not be asked."
        : `${this.suggestions.message || "Nothing is suggested yet"}.`;
      this.notify({ text, tone: failed ? "warning" : "plain", topic: "hint" });
      return;
    }
    const { proposal, instead } = found;
    if (proposal.kind === "sample" && this.controller.sampling.sample !== null) {
      this.controller.sampling.show();
      this.notify({ text: "This sample is still open: go on with it, or end it.", tone: "plain", topic: "hint" });
      return;
    }
    const page = this.leftOf(found);
    if (page.length === 0) {
      const isUnsaved = this.controller.queue.length > 0;
      const text = isUnsaved
        ? "What comes next shows when the last labels are saved."
        : "Nothing of this kind is left.";
      this.notify({ text, tone: "plain", topic: "hint" });
      this.age();
      return;
    }
    // Where many are expected to be wrong, none is to be confirmed by one key: each gets its own.
    const isReview = proposal.class_value !== null && (proposal.expected_right ?? 1) >= CONFIRMED_FROM;
    await this.controller.region.show(page, "suggested", {
      proposal,
      reviewClass: isReview ? proposal.class_value : null,
      pickAll: isReview,
      isOrderGiven: true,
    });
    if (!isReview) this.selection.setCursor(0, true);
    if (instead !== undefined)
      this.sayPassedOver(`“${instead.title}”: all of it was passed over already. The list beside Go has it.`);
    else if (found.page.length < proposal.n && found.nPassed > 0)
      this.sayPassedOver(`${count(found.page.length)} of ${count(proposal.n)}: the others were passed over already.`);
    if (proposal.kind === "sample") document.dispatchEvent(new CustomEvent("accept-by-sample"));
  }

  /** A sample that was proposed is not wanted: the next is recommended, until labels or predictions have changed. */
  declineSample(): void {
    this.controller.region.lookAnew();
    const { proposal } = this.selection;
    if (proposal?.kind === "sample") this.suggestions.exhaust(proposal);
  }

  /** The page of the proposal that was chosen, or of the first one of which not everything was passed over. */
  private async nextPage(
    chosen: Proposal | undefined,
    read: Proposal | undefined,
    signal: AbortSignal,
  ): Promise<NextPage | undefined> {
    const { api, projectId } = this.config;
    const inTurn = () => chosen ?? (read && this.suggestions.again(read)) ?? this.suggestions.recommended;
    const promised = inTurn();
    for (;;) {
      const proposal = inTurn();
      if (proposal === undefined) return undefined;
      const passed = this.suggestions.passed(proposal);
      const page = await fetchSuggestedPage(api, projectId, proposal, passed, { signal });
      if (page.length > 0 || passed.length === 0)
        return { proposal, page, nPassed: passed.length, instead: proposal === promised ? undefined : promised };
      if (chosen === undefined) this.suggestions.exhaust(proposal);
      else this.suggestions.forgetPassed(proposal);
    }
  }

  /** What of a page is still to be looked at: labels may be on their way to the server. */
  private leftOf({ proposal, page }: NextPage): Uint32Array {
    return proposal.kind === "discordant" ? page : this.labels.unlabeledOf(page);
  }

  /** What the bar says comes next, and comes even where later labels would have another page first: who has read a class's name may
   * confirm by habit. Not where it still says what is on the screen. */
  private readInBar(): Proposal | undefined {
    const { recommended } = this.suggestions;
    const { proposal } = this.selection;
    const isOnScreen = recommended !== undefined && proposal !== null && isOfSame(proposal, recommended);
    return isOnScreen ? undefined : recommended;
  }

  /** What the bar promised was not what came: why. */
  private sayPassedOver(text: string): void {
    this.notify({ text, tone: "plain", topic: "hint" });
  }

  /** Who goes on has decided about what was on the screen: the same patches do not come again at once. */
  private passOver(): void {
    const { proposal, order } = this.selection;
    if (proposal === null) return;
    // Where labels are looked at again, one that was kept was decided about too.
    const isDecided = (ordinal: number) => proposal.kind === "discordant" || this.labels.shown[ordinal] === 0;
    let left = order.filter((ordinal) => this.seen.has(ordinal) && isDecided(ordinal));
    // Where each gets a key of its own, those that follow are still to come; unless none got one: then the page is not wanted.
    const isOneByOne = this.selection.reviewClass === null && proposal.kind !== "discordant";
    if (isOneByOne && order.some((ordinal) => this.labels.shown[ordinal] !== 0))
      left = left.filter((ordinal) => this.selection.rankOf(ordinal) < this.selection.cursor);
    this.suggestions.passOver(proposal, left);
  }
}
