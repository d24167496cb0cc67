import { HttpError, messageOf, newClientKey } from "../../api/http";
import { type LabelAction, postAction } from "../../api/labels";
import type { ActionResult, LabelClass } from "../../api/types";
import { count, plural } from "../../lib/format";
import { PAGES } from "../../state/selection";
import { Part } from "./part";

/** So many labels are replaced or removed by a second press only, within so long. */
const MANY_REPLACED = 100;
const ASKED_FOR_MS = 8_000;

/** The gestures that label: a class for what is selected, and a page confirmed as what it was shown for. */
export class Labeling extends Part {
  /** A page that ends with nothing of its class, and how many were left out of it: told to the server once. */
  private allLeftOut: { readonly page: Uint32Array; readonly n: number } | undefined;
  /** What was asked about before it is done: how many labels it would cost, and when. */
  private costly: { readonly n: number; readonly classValue: number | null; readonly at: number } | undefined;

  /** The class that a digit stands for, or undefined, which is said. */
  classForKey(digit: string): LabelClass | undefined {
    const labelClass = this.project.classes.find((c) => c.key === digit);
    if (labelClass === undefined && this.project.status === "ready") {
      this.notify({ text: `There is no class ${digit}.`, tone: "plain", topic: "hint" });
    }
    return labelClass;
  }

  /** Whether each patch gets a class of its own here, one after the other. */
  private get isOneByOne(): boolean {
    return this.selection.source === "suggested" && this.selection.reviewClass === null;
  }

  /** Select all of the region; where each patch gets a class of its own, those without one, as long as there are such. */
  pickAll(): void {
    this.controller.region.whenArranged(() => {
      const { selection } = this;
      const open = this.isOneByOne ? this.labels.unlabeledOf(selection.order) : new Uint32Array(0);
      if (open.length > 0) selection.pickOrdinals(open);
      else selection.pickAll();
    });
  }

  /** More of the page has come onto the screen: of one where each gets a class of its own, what was labeled before is done. */
  leaveLabeled(): void {
    const { selection } = this;
    if (!this.isOneByOne || !selection.held) return;
    selection.clearPicks();
    // Where all have a label, the one that is meant next is for the person to say.
    if (selection.proposal?.kind !== "discordant") this.goToNextUnlabeled();
  }

  /** Label what is picked in the grid, or the tile that the keyboard stands on. null removes the labels. */
  label(classValue: number | null): void {
    this.controller.region.whenArranged(() => this.labelWhatIsThere(classValue));
  }

  private labelWhatIsThere(classValue: number | null): void {
    if (!this.project.canLabel) {
      this.sayWhyNotToLabel();
      return;
    }
    if (this.waitsForSample()) return;
    const { selection } = this;
    const isPagesOwn = classValue !== null && classValue === selection.reviewClass;
    if (!isPagesOwn && this.labelTakenOut(classValue)) return;
    let more: Uint32Array = new Uint32Array(0);
    let leftOut: Uint32Array = new Uint32Array(0);
    if (PAGES.has(selection.source) && !selection.held && selection.pickedCount > 0) {
      if (this.controller.region.isTooSoon) return;
      leftOut = this.takenOut();
      // What is confirmed has been looked at, and nobody has said what it is meanwhile.
      const unseen = selection.picks().filter((ordinal) => !this.seen.has(ordinal));
      more = this.labels.unlabeledOf(unseen);
      if (unseen.length === selection.pickedCount) {
        if (isPagesOwn && leftOut.length > 0) this.leaveOut(classValue, leftOut, more);
        else this.notify({ text: "None of these patches was on the screen yet.", tone: "plain", topic: "hint" });
        return;
      }
      selection.keepPicked((ordinal) => this.seen.has(ordinal) && !(isPagesOwn && this.labels.shown[ordinal] !== 0));
      if (selection.pickedCount === 0) {
        if (more.length > 0) this.goOnWith(more);
        else this.sayAllLabeled();
        return;
      }
    }
    let ordinals = selection.picks();
    const atCursor = ordinals.length === 0 && selection.cursor >= 0 && selection.cursorByKeyboard;
    if (atCursor) ordinals = Uint32Array.of(selection.order[selection.cursor]!);
    if (ordinals.length === 0) {
      this.sayWhyNotToLabel();
      return;
    }
    const isFirstLabel = ordinals.length === 1 && this.labels.shown[ordinals[0]!] === 0;
    const goesOn = atCursor ? selection.source === "suggested" : this.isOneByOne && isFirstLabel;
    const onlyUnlabeled = PAGES.has(selection.source) && !selection.held && isPagesOwn;
    // What was labeled a moment ago may be corrected by one key.
    if (!onlyUnlabeled && !selection.held && this.asksAgain(ordinals, classValue)) return;
    this.labelOrdinals(ordinals, classValue, {
      onlyUnlabeled,
      leftOut: isPagesOwn ? leftOut : undefined,
      more:
        more.length === 0
          ? ""
          : `; ${count(more.length)} ${isPagesOwn ? "more to look at" : "not on the screen yet, left as they are"}`,
    });
    // Another class may have been a slip of the finger: then the picks stay, to be corrected.
    if (more.length > 0 && isPagesOwn) {
      this.goOnWith(more);
      return;
    }
    // A wrong key is corrected by the right one; whatever is picked next starts anew.
    selection.hold();
    if (goesOn) this.goToNextUnlabeled();
  }

  /** Nothing that was on the screen is of the page's class: that is told to the model, and the page goes on. */
  private leaveOut(classValue: number, leftOut: Uint32Array, more: Uint32Array): void {
    if (this.controller.region.isTooSoon) return;
    this.labelOrdinals(new Uint32Array(0), classValue, {
      onlyUnlabeled: true,
      leftOut,
      more: more.length === 0 ? "" : `; ${count(more.length)} more to look at`,
    });
    if (more.length > 0) this.goOnWith(more);
    else this.allLeftOut = { page: this.selection.order, n: leftOut.length };
  }

  /** Nothing is told of who was left out of a page, as it was not saved or was undone. */
  forgetAllLeftOut(): void {
    this.allLeftOut = undefined;
  }

  /** Whether so many labels would be lost that one press is not enough: who selected all may have meant a single patch. */
  private asksAgain(ordinals: Uint32Array, classValue: number | null): boolean {
    const { shown } = this.labels;
    const n = ordinals.reduce((sum, o) => sum + Number(shown[o] !== 0 && shown[o] !== classValue), 0);
    const { costly } = this;
    this.costly = undefined;
    if (n < MANY_REPLACED) return false;
    const now = performance.now();
    if (costly?.n === n && costly.classValue === classValue && now - costly.at < ASKED_FOR_MS) return false;
    this.costly = { n, classValue, at: now };
    const name = classValue === null ? "" : (this.project.classOf(classValue)?.name ?? String(classValue));
    this.notify({
      text:
        classValue === null
          ? `${count(n)} labels would go. Once more removes them.`
          : `${count(n)} of these have another class. Once more labels them ${name} all the same.`,
      tone: "warning",
      topic: "hint",
      durationMs: ASKED_FOR_MS,
    });
    return true;
  }

  /** Of a page to confirm: what was on the screen, was taken out of it and has no label. Once the page is confirmed, that is
   * what was not. */
  private takenOut(): Uint32Array {
    const { selection } = this;
    if (!PAGES.has(selection.source) || selection.reviewClass === null || !selection.isOffered)
      return new Uint32Array(0);
    const out = selection.held ? selection.order : selection.leftOut;
    return this.labels.unlabeledOf(out).filter((ordinal) => this.seen.has(ordinal));
  }

  /** Another class than the page's is for those that were taken out of it, and the next one corrects that; the others wait to be
   * confirmed, or have been. A key that was meant for such must not label a whole page where there are none: who wants that
   * selects all. Returns false where the key is for what is picked. */
  private labelTakenOut(classValue: number | null): boolean {
    const { selection } = this;
    const open = classValue === null ? new Uint32Array(0) : this.takenOut();
    const ordinals = open.length > 0 ? open : selection.lastAnswered;
    if (ordinals.length === 0) {
      const nobodyPicked = PAGES.has(selection.source) && selection.isOffered && !selection.isAllChosen;
      if (classValue === null || !nobodyPicked) return false;
      const text = "Take the wrong ones out first, or select all with A.";
      this.notify({ text, tone: "plain", topic: "hint" });
      return true;
    }
    if (this.controller.region.isTooSoon) return true;
    this.labelOrdinals(ordinals, classValue, { onlyUnlabeled: open.length > 0 });
    selection.forgetLeftOut(ordinals);
    return true;
  }

  /** One key an object: after the label, the cursor goes on. */
  goToNextUnlabeled(): void {
    const { selection, labels } = this;
    if (selection.proposal?.kind === "discordant") {
      const isLast = selection.cursor === selection.size - 1;
      if (isLast) this.notify({ text: "That was the last of these. G goes on.", tone: "plain", topic: "hint" });
      else selection.setCursor(selection.cursor + 1, true);
      return;
    }
    const isOpen = (ordinal: number) => labels.shown[ordinal] === 0;
    const after = selection.order.subarray(selection.cursor + 1).findIndex(isOpen);
    const next = after >= 0 ? selection.cursor + 1 + after : selection.order.findIndex(isOpen);
    if (next >= 0) selection.setCursor(next, true);
  }

  /** On a page where each object gets a key of its own, the one that the next key is for. */
  get objectToLabel(): number | undefined {
    const { selection } = this;
    return this.isOneByOne && selection.cursorByKeyboard ? selection.order[selection.cursor] : undefined;
  }

  /** Somebody else has labeled what the cursor is at, on the same page: go on half of what is left further down, so that the two do not
   * meet again at the next one. */
  makeRoom(): void {
    const { selection, labels } = this;
    const open = [...selection.order.keys()].filter((index) => labels.shown[selection.order[index]!] === 0);
    if (open.length === 0) return;
    const after = open.findIndex((index) => index > selection.cursor);
    const next = open[(Math.max(after, 0) + Math.floor(open.length / 2)) % open.length]!;
    selection.setCursor(next, true);
    const text = "Somebody else has labeled this one. You go on further down.";
    this.notify({ text, tone: "plain", topic: "hint" });
  }

  /** Label what stays selected of a page as what it was shown for; where that was done, go on with what was not on the
   * screen yet. Returns whether this is such a page. */
  confirm(): boolean {
    const { reviewClass, pickedCount, source, order } = this.selection;
    if (this.controller.sampling.isShown) {
      this.controller.sampling.sayHowItStands();
      return true;
    }
    if (reviewClass === null) return false;
    if (this.waitsForSample()) return true;
    // What was undone waits to be confirmed again.
    if (this.selection.held && this.labels.unlabeledOf(this.selection.picks()).length > 0) this.selection.held = false;
    if (this.selection.held) {
      const open = this.labels.unlabeledOf(order);
      const more = open.filter((ordinal) => !this.seen.has(ordinal));
      if (PAGES.has(source) && more.length > 0) this.goOnWith(more);
      else if (open.length === 0) this.sayAllLabeled();
      else this.sayLeftOut(open.length);
    } else if (pickedCount > 0) this.label(reviewClass);
    else if (this.labels.unlabeledOf(order).length === 0) this.sayAllLabeled();
    else {
      const leftOut = this.takenOut();
      const isTold = this.allLeftOut?.page === order && this.allLeftOut.n === leftOut.length;
      // Not the patch at the cursor: where nothing stays selected, it was just taken out.
      if (leftOut.length === 0 || !this.project.canLabel) this.sayWhyNotToLabel();
      else if (isTold) this.sayLeftOut(leftOut.length);
      else this.leaveOut(reviewClass, leftOut, new Uint32Array(0));
    }
    return true;
  }

  /** How many of a page Enter would label now: what is picked, was on the screen and has no label. */
  get nToConfirm(): number {
    const { selection, labels } = this;
    if (!PAGES.has(selection.source) || selection.reviewClass === null || !this.project.canLabel) return 0;
    let n = 0;
    for (const ordinal of selection.order)
      n += Number(selection.picked[ordinal] === 1 && this.seen.has(ordinal) && labels.shown[ordinal] === 0);
    return n;
  }

  /** What a sample is drawn from stays as it is until it is there; who labels meanwhile is told. */
  private waitsForSample(): boolean {
    if (!this.controller.sampling.isDrawing) return false;
    this.notify({ text: "The sample is being drawn. Nothing was labeled.", tone: "plain", topic: "hint" });
    return true;
  }

  private sayLeftOut(n: number): void {
    const left = `${plural(n, "patch", "patches")} left out here ${n === 1 ? "has" : "have"} no label.`;
    this.notify({ text: `${left} G goes on.`, tone: "plain", topic: "hint" });
  }

  private sayAllLabeled(): void {
    this.notify({ text: "All of these are labeled. G goes on.", tone: "plain", topic: "hint" });
  }

  /** Bring the next patches of a page onto the screen, all picked. */
  private goOnWith(ordinals: Uint32Array): void {
    this.selection.offer(ordinals);
    this.controller.region.bringUp(ordinals[0]!);
  }

  /** Whoever labels a selection by a key should know what it took the place of, and what lay beyond the edge of the grid. */
  private whatToKnow(ordinals: Uint32Array, nOtherwise: number): string {
    if (ordinals.length < 2) return "";
    const nUnseen = ordinals.reduce((sum, ordinal) => sum + Number(!this.seen.has(ordinal)), 0);
    return (
      (nOtherwise > 0 ? `; ${count(nOtherwise)} had another class` : "") +
      (nUnseen > 0 ? `. ${count(nUnseen)} of them ${nUnseen === 1 ? "was" : "were"} not on the screen` : "")
    );
  }

  /** For the record: a label may be given to what nobody looked at, and then says so. */
  private onScreen(ordinals: Uint32Array): NonNullable<LabelAction["selection"]["on_screen"]> {
    const seen = ordinals.filter((ordinal) => this.seen.has(ordinal));
    return seen.length === ordinals.length ? { n: seen.length } : { n: seen.length, ordinals: [...seen] };
  }

  sayWhyNotToLabel(): void {
    if (!this.project.canLabel) {
      this.notify({
        text: "You may look here, but not label: that takes a role such as rater in this project.",
        tone: "warning",
        topic: "access",
      });
      return;
    }
    if (this.controller.sampling.isShown) {
      this.controller.sampling.sayHowItStands();
      return;
    }
    const { size } = this.selection;
    this.notify({
      text:
        size === 0
          ? "Nothing is selected. Draw a lasso on the map first."
          : `Select patches in the grid first. A selects all ${count(size)}.`,
      tone: "plain",
      topic: "hint",
    });
  }

  /** `more`: what is said after what was done. `leftOut`: seen with these, and not of the class. */
  labelOrdinals(
    ordinals: Uint32Array,
    classValue: number | null,
    {
      onlyUnlabeled = false,
      more = "",
      leftOut = new Uint32Array(0),
    }: { readonly onlyUnlabeled?: boolean; readonly more?: string; readonly leftOut?: Uint32Array | undefined } = {},
  ): void {
    const labelSet = this.project.labelSet;
    if (labelSet === null) return;
    const action: LabelAction = {
      kind: classValue === null ? "remove" : "label",
      class_value: classValue,
      provenance: ordinals.length === 1 ? "single" : "bulk",
      only_unlabeled: onlyUnlabeled,
      selection: {
        ...this.controller.region.context(),
        ...(ordinals.length > 0 ? { on_screen: this.onScreen(ordinals) } : {}),
        ...(leftOut.length > 0 ? { left_out: [...leftOut] } : {}),
      },
      client_key: newClientKey(),
      worked_s: this.controller.activity.take(),
    };
    const nToChange = ordinals.reduce((n, ordinal) => n + Number(this.labels.shown[ordinal] !== (classValue ?? 0)), 0);
    const nBefore = ordinals.length - nToChange;
    const nOtherwise = nToChange - this.labels.unlabeledOf(ordinals).length;
    // Where labels are looked at again, one that is given once more is kept, which is a gesture, too.
    const keeps = this.selection.proposal?.kind === "discordant" && classValue !== null;
    const isSeenFirst = ordinals.some((ordinal) => this.labels.unseen[ordinal] === 1);
    const changesSomething = nToChange > 0 || leftOut.length > 0 || keeps || isSeenFirst;
    const change = this.labels.propose(ordinals, classValue ?? 0);
    const revisionBefore = this.labels.revision;
    const name = classValue === null ? "" : (this.project.classOf(classValue)?.name ?? String(classValue));
    const done =
      classValue === null
        ? `Label removed from ${plural(nToChange, "object")}`
        : keeps && nToChange === 0
          ? `${plural(nBefore, "label")} kept: ${name}`
          : (ordinals.length === 0 ? `Nothing labeled ${name}` : `${plural(nToChange, "object")} labeled ${name}`) +
            (nBefore > 0 ? `; ${count(nBefore)} ${nBefore === 1 ? "was" : "were"} so before` : "") +
            (leftOut.length > 0 ? `, ${count(leftOut.length)} left out` : "") +
            this.whatToKnow(ordinals, nOtherwise);
    this.notices.dismissTopic("hint");
    // What to know makes a second line; the first alone is cut where it is long.
    const isWorthKnowing = this.whatToKnow(ordinals, nOtherwise) !== "";
    this.notify({
      text: done + more,
      tone: isWorthKnowing ? "warning" : "success",
      topic: "labels",
      ...(isWorthKnowing ? { durationMs: 7000 } : {}),
      // Where nothing changes it would take back the gesture before.
      ...(changesSomething ? { action: { text: "Undo", run: () => this.controller.history.undo() } } : {}),
    });
    this.controller.queue.add<ActionResult>({
      clientKey: action.client_key,
      send: () => postAction(this.config.api, labelSet.id, action, ordinals),
      onSaved: (result) => {
        this.labels.confirm(change);
        const n = onlyUnlabeled ? ordinals.length - result.n_changed : 0;
        // Others' labels may have come in before this answer, which has painted over them.
        if (n > 0) this.labels.revision = Math.min(this.labels.revision, revisionBefore);
        this.controller.labelChanges.takeShown(result);
        if (n > 0) {
          void this.controller.labelChanges.fetch();
          this.notify({
            text: `${plural(n, "object")} labeled by somebody else meanwhile, left as they are`,
            tone: "warning",
            topic: "hint",
          });
        }
      },
      onRefused: (error) => {
        this.forgetAllLeftOut();
        this.labels.reject(change);
        this.notices.dismissTopic("labels");
        this.notify({
          text: `Not saved, and taken back: ${whyRefused(error)}`,
          tone: "danger",
          topic: "save",
          durationMs: 12_000,
        });
        void this.controller.sync.catchUp();
      },
    });
  }
}

/** A project that is not there any more is one that somebody was removed from: they see it, so it was there. */
const whyRefused = (error: unknown): string =>
  error instanceof HttpError && error.status === 404
    ? "you have no access to this project any more. Its manager can say why."
    : messageOf(error);
