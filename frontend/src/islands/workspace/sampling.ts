import { messageOf, newClientKey } from "../../api/http";
import { acceptSample, drawSample, endSample, fetchSample, lookAtMore, postMarks } from "../../api/samples";
import type { ActionResult, Sample, UndoEntry } from "../../api/types";
import { count } from "../../lib/format";
import type { WorkspaceController } from "./controller";
import { Part } from "./part";

/** For a patch: a person needs several times as long to look at one. */
const LOOK_AT_LEAST_MS = 100;

/** Accepting a selection by a random sample of it: what the person is asked, has seen and has marked.
 *
 * In the sample, to select a patch is to mark it as wrong. The server keeps the sample and the marks, so that one can leave
 * the page and come back; it has the last word on whether the selection is accepted.
 */
export class Sampling extends Part<"sample"> {
  /** The open sample, whether it is on the screen or not. */
  sample: Sample | null = null;
  /** Whether a request that changes the sample is on its way. */
  busy = false;
  /** Whether that is the one for a new sample. */
  isDrawing = false;
  /** Whether more patches are on their way. Marks may be set meanwhile. */
  private isAskingForMore = false;
  private marksQueued = false;
  /** Posts of marks, since the page was opened. */
  private nMarksQueued = 0;
  private nMarksAnswered = 0;
  /** Questions for the open sample: an answer to an older one than the last says nothing. */
  private nAsked = 0;
  /** Whether the picks are being set to the marks: what comes in between is nobody's gesture. */
  private restoring = false;
  /** The marks that the server is known to have: what differs from them is sent. */
  private savedMarks = new Set<number>();
  /** Of the open sample, what was on the screen: whoever looks elsewhere in between has seen it all the same. */
  private lookedAt = new Set<number>();
  /** When those of the open sample that are to be looked at now came on the screen, and how many were looked at before. */
  private since = 0;
  private nBefore = 0;
  private readonly subscriptions: (() => void)[];

  constructor(controller: WorkspaceController) {
    super(controller);
    const { project, selection, labels } = controller;
    this.subscriptions = [
      // Also of the sample that is known: it may have been marked in another tab, or samples are not allowed any more.
      project.on("state", () => void this.takeUp(project.sampled.open_sample)),
      project.on("embedding", () => {
        if (this.sample !== null) void this.takeUp(this.sample.id);
      }),
      selection.on("picks", () => {
        this.saveMarks();
        if (this.isShown) this.emit("sample");
      }),
      selection.on("region", () => this.emit("sample")),
      labels.on("labels", () => {
        // What stood in the way may have been taken back by whoever did it.
        if (this.sample !== null && this.sample.stale !== "") void this.takeUp(this.sample.id);
        if (this.isShown) this.emit("sample");
      }),
      controller.seen.on("seen", () => {
        if (!this.isShown) return;
        for (const ordinal of this.sample?.ordinals ?? []) if (controller.seen.has(ordinal)) this.lookedAt.add(ordinal);
        this.emit("sample");
      }),
    ];
  }

  destroy(): void {
    for (const end of this.subscriptions) end();
  }

  /** Whether the person may begin one. */
  get isAllowed(): boolean {
    const { project } = this;
    return project.sampled.allowed && project.canLabel;
  }

  /** Whether the open sample is what the grid shows. */
  get isShown(): boolean {
    return this.sample !== null && this.selection.source === "sample";
  }

  get nSeen(): number {
    return this.sample?.ordinals.filter((ordinal) => this.lookedAt.has(ordinal)).length ?? 0;
  }

  /** The unlabeled ones of what is selected, or of the whole region where nothing is, or only what was just labeled. */
  candidates(): Uint32Array {
    const { selection, labels } = this;
    const asked = selection.pickedCount > 0 && !selection.held ? selection.picks() : selection.order;
    return labels.unlabeledOf(asked);
  }

  /** The class that most of these objects are predicted as: what one probably means. */
  likelyClass(ordinals: Uint32Array): number | null {
    const { project, selection } = this;
    if (selection.reviewClass !== null) return selection.reviewClass;
    const counts = new Uint32Array(256);
    for (const ordinal of ordinals) counts[project.predictions[ordinal] ?? 0]!++;
    const values = project.classes.map((c) => c.value);
    const best = values.reduce((a, b) => (counts[b]! > counts[a]! ? b : a), values[0] ?? 0);
    return counts[best]! > 0 ? best : null;
  }

  /** Marked, or labeled as another class since the sample was drawn. */
  isWrong(ordinal: number): boolean {
    const { labels, selection } = this;
    const label = labels.shown[ordinal]!;
    return label === 0 ? selection.isPicked(ordinal) : label !== this.sample?.class_value;
  }

  /** Whether a gesture was made before the open sample was drawn: who has just marked a patch does not mean that one. */
  isOlder(gesture: UndoEntry | null): boolean {
    return this.sample !== null && gesture !== null && Date.parse(gesture.at) < Date.parse(this.sample.started_at);
  }

  wrong(): number[] {
    return this.sample?.ordinals.filter((ordinal) => this.isWrong(ordinal)) ?? [];
  }

  /** Whether some are wrong of which nobody has said what they are. */
  get hasMarks(): boolean {
    const { labels } = this;
    return this.wrong().some((ordinal) => labels.shown[ordinal] === 0);
  }

  /** How many more are to be looked at, as so many are wrong, before the others may be accepted; null where too many are. */
  get nMore(): number | null {
    const needed = this.sample?.sizes[this.wrong().length];
    return needed === undefined ? null : Math.max(0, needed - this.sample!.n);
  }

  async draw(ordinals: Uint32Array, classValue: number): Promise<void> {
    const { project, config } = this;
    if (project.labelSet === null || this.busy) return;
    const stated = { class_value: classValue, selection: this.controller.region.context(), client_key: newClientKey() };
    this.busy = this.isDrawing = true;
    this.emit("sample");
    try {
      const sample = await drawSample(config.api, project.labelSet.id, stated, ordinals);
      this.begin(sample); // not before: where none is drawn, an open one stays as far as it was
      this.show();
    } catch (error) {
      this.tell(`No sample was drawn: ${messageOf(error)}`);
      void this.controller.sync.catchUp();
    } finally {
      this.busy = this.isDrawing = false;
      this.emit("sample");
    }
  }

  private begin(sample: Sample | null): void {
    this.sample = sample;
    this.savedMarks = new Set(sample?.marked);
    this.lookedAt = new Set();
    this.since = Number.POSITIVE_INFINITY;
    this.nBefore = 0;
  }

  /** Whether a gesture has to wait for an answer. */
  get isWaiting(): boolean {
    return this.busy || this.isAskingForMore;
  }

  /** How much longer it takes to look at so many patches; 0 where they may have been looked at. */
  private get tooSoonByMs(): number {
    const sooner = LOOK_AT_LEAST_MS * ((this.sample?.n ?? 0) - this.nBefore) - (performance.now() - this.since);
    return Math.max(0, sooner);
  }

  /** Puts the sample into the grid, its patches in the order in which they were drawn. */
  show(): void {
    if (this.sample === null) return;
    const { marked, ordinals } = this.sample;
    this.restoring = true;
    try {
      this.controller.region.showSample(Uint32Array.from(ordinals));
      this.controller.region.markSeen([...this.lookedAt], 0);
      this.selection.pickOrdinals(marked);
    } finally {
      this.restoring = false;
    }
    this.since = Math.min(this.since, performance.now());
    this.emit("sample");
  }

  /** By key: what comes next, or what is missing for it. */
  goOn(): void {
    const { sample, nMore } = this;
    if (sample === null || !this.isShown || this.isWaiting) return;
    if (sample.stale !== "" || nMore === null || this.nSeen < sample.n) this.sayHowItStands();
    else if (nMore > 0) this.lookAtMore();
    else this.accept(); // or says why not yet
  }

  /** What a key that does nothing here would have to wait for, or which one does it. */
  sayHowItStands(): void {
    const { sample, nMore } = this;
    if (sample === null || this.isWaiting) return;
    const nWrong = this.wrong().length;
    const name = this.project.classOf(sample.class_value)?.name ?? "";
    const tooSoonByMs = this.tooSoonByMs;
    let text = `All ${count(sample.n)} were looked at: Shift Enter accepts ${howMany(sample, nWrong)} as ${name}.`;
    if (sample.stale !== "") text = "This sample can not be accepted any more.";
    else if (nMore === null) text = `${areWrong(nWrong)}: too many for the selection to be accepted.`;
    else if (this.nSeen < sample.n)
      text = `${count(this.nSeen)} of the ${count(sample.n)} patches were on the screen. Look at all of them.`;
    else if (tooSoonByMs > 0)
      text = `That was quick. Look at each patch: you can go on in ${Math.ceil(tooSoonByMs / 1000)} s.`;
    else if (nMore > 0) text = `${areWrong(nWrong)}: Shift Enter shows ${count(nMore)} more.`;
    this.notices.show({ text, tone: "plain", topic: "hint" });
  }

  /** The explicit gesture. It waits for labels and marks that are still on their way. */
  accept(): void {
    const { sample, nSeen } = this;
    if (sample === null || this.isWaiting) return;
    if (this.tooSoonByMs > 0) {
      this.sayHowItStands();
      return;
    }
    const nWrong = this.wrong().length;
    const workedS = this.controller.activity.take();
    this.send<ActionResult>(
      () => acceptSample(this.config.api, sample.id, sample.size - nWrong, nSeen, workedS),
      (result) => {
        const name = this.project.classOf(sample.class_value)?.name ?? "";
        const nRight = sample.n - nWrong;
        const how = `${count(nRight)} seen, ${count(result.n - nRight)} by sample`;
        return this.controller.labelChanges.takeUnshown(result, `${count(result.n)} labeled ${name}: ${how}`);
      },
    );
  }

  /** Goes on with as many patches as the wrong ones ask for. It waits for labels and marks that are still on their way. */
  lookAtMore(): void {
    const { sample, nMore } = this;
    if (sample === null || this.isWaiting || nMore === null || nMore === 0) return;
    if (this.tooSoonByMs > 0) {
      this.sayHowItStands();
      return;
    }
    this.isAskingForMore = true;
    this.emit("sample");
    this.controller.queue.add<Sample>({
      clientKey: newClientKey(),
      send: () => lookAtMore(this.config.api, sample.id, sample.n + nMore),
      onSaved: (larger) => {
        this.isAskingForMore = false;
        this.mergeAfterRectangle(larger, this.savedMarks);
      },
      onRefused: (error) => {
        this.isAskingForMore = false;
        this.tell(messageOf(error));
        void this.takeUp(sample.id);
      },
    });
  }

  /** Leaves the sample; labels that were given stay. With `keepRight`, those in it that are right are labeled first. */
  end(keepRight = false): void {
    const { sample } = this;
    if (sample === null || this.isWaiting) return;
    this.busy = true;
    if (keepRight) {
      const { labels } = this;
      const right = sample.ordinals.filter((ordinal) => labels.shown[ordinal] === 0 && !this.isWrong(ordinal));
      if (right.length > 0) this.controller.labeling.labelOrdinals(Uint32Array.from(right), sample.class_value);
    }
    this.send<Sample>(
      () => endSample(this.config.api, sample.id),
      () => {
        const text = "Nothing was accepted. Another sample of these will be larger.";
        if (!keepRight) this.notices.show({ text, tone: "plain", topic: "hint" });
        return Promise.resolve();
      },
    );
  }

  /** What closes the sample, after the gestures that are on their way; what is shown next knows what came of it. */
  private send<Result>(request: () => Promise<Result>, onSaved: (result: Result) => Promise<void>): void {
    const { id } = this.sample!;
    this.busy = true;
    this.emit("sample");
    this.controller.queue.add<Result>({
      clientKey: newClientKey(),
      send: request,
      onSaved: (result) => {
        void onSaved(result).then(() => this.close());
      },
      onRefused: (error) => {
        this.busy = false;
        this.tell(messageOf(error));
        void this.takeUp(id);
      },
    });
  }

  /** What the server knows about the open sample. */
  private async takeUp(id: number | null): Promise<void> {
    if (id === null) {
      if (this.sample !== null && !this.busy) this.close();
      return;
    }
    const { nMarksQueued } = this;
    const marksAreSaved = nMarksQueued === this.nMarksAnswered;
    const isAnother = id !== this.sample?.id;
    const asked = ++this.nAsked;
    try {
      const sample = await fetchSample(this.config.api, id);
      if (this.isWaiting || asked !== this.nAsked) return; // what is on its way says more
      if (!isAnother && id !== this.sample?.id) return; // it has ended meanwhile
      const { isShown } = this;
      if (sample.state !== "open") {
        if (!isAnother) this.close();
      } else if (isAnother) {
        this.begin(sample);
        // Drawn in another tab: its patches take the place of those of the one before.
        if (isShown) this.show();
      } else if (marksAreSaved && nMarksQueued === this.nMarksQueued) this.mergeAfterRectangle(sample, this.savedMarks);
      // Otherwise the answer to the marks, which may be newer than this one, says the same.
      this.emit("sample");
    } catch (error) {
      console.warn("PatchSorter could not fetch the sample:", messageOf(error));
    }
  }

  /** Selected and unlabeled is marked; a patch that was labeled otherwise says so itself. */
  private saveMarks(): void {
    const { sample } = this;
    const { labels, selection } = this;
    if (sample === null || !this.isShown || this.busy || this.restoring || selection.isDrawing) return;
    const marked = sample.ordinals.filter((ordinal) => labels.shown[ordinal] === 0 && selection.isPicked(ordinal));
    if (marked.join() === sample.marked.join()) return;
    this.sample = { ...sample, marked };
    if (this.marksQueued) return;
    this.marksQueued = true;
    this.nMarksQueued++;
    let sent = new Set<number>();
    this.controller.queue.add<Sample>({
      clientKey: newClientKey(),
      send: () => {
        this.marksQueued = false;
        const saved = this.sample?.id === sample.id ? this.savedMarks : new Set<number>();
        sent = new Set(this.sample?.id === sample.id ? this.sample.marked : []);
        const wrong = [...sent].filter((ordinal) => !saved.has(ordinal));
        const notWrong = [...saved].filter((ordinal) => !sent.has(ordinal));
        return postMarks(this.config.api, sample.id, { wrong, not_wrong: notWrong });
      },
      onSaved: (saved) => {
        this.nMarksAnswered++;
        this.mergeAfterRectangle(saved, sent);
      },
      onRefused: (error) => {
        this.nMarksAnswered++;
        this.tell(messageOf(error));
        void this.takeUp(sample.id);
      },
    });
  }

  private mergeAfterRectangle(sample: Sample, expected: ReadonlySet<number>): void {
    this.selection.afterRectangle(() => this.merge(sample, expected));
  }

  /** The server's word on the sample that is known. Marks in which it differs from what was `expected` were set or taken back
   * in another tab; all others are as they are here, newer than the answer. Where it has grown, here or there, one goes on
   * with what is new. */
  private merge(sample: Sample, expected: ReadonlySet<number>): void {
    if (sample.id !== this.sample?.id || sample.n < this.sample.n) return; // an answer from before it had grown
    const { marked: here, n } = this.sample;
    const saved = new Set(sample.marked);
    const marked = new Set(here);
    for (const ordinal of sample.ordinals) {
      if (saved.has(ordinal) === expected.has(ordinal)) continue;
      if (saved.has(ordinal)) marked.add(ordinal);
      else marked.delete(ordinal);
    }
    this.savedMarks = saved;
    this.sample = { ...sample, marked: sample.ordinals.filter((ordinal) => marked.has(ordinal)) };
    if (sample.n > n) [this.nBefore, this.since] = [this.nSeen, Number.POSITIVE_INFINITY];
    if (this.isShown && sample.n > n) {
      this.show();
      this.controller.region.beginWith(sample.ordinals.findIndex((ordinal) => !this.lookedAt.has(ordinal)));
    } else if (this.isShown && this.sample.marked.join() !== here.join())
      this.selection.pickOrdinals(this.sample.marked);
    this.emit("sample");
  }

  private tell(text: string): void {
    this.notices.show({ text, tone: "danger", topic: "save", durationMs: 12_000 });
  }

  private close(): void {
    this.begin(null);
    this.busy = false;
    this.controller.next.age();
    // Whoever has drawn a lasso since waits for that.
    if (this.controller.region.wantedSource === "sample") this.controller.region.showAll();
    this.emit("sample");
  }
}

/** What an acceptance labels: everything, or all but what is wrong. */
export const howMany = (sample: Sample, nWrong: number): string =>
  nWrong === 0 ? `all ${count(sample.size)}` : `the other ${count(sample.size - nWrong)}`;

export const areWrong = (nWrong: number): string =>
  nWrong === 0 ? "None is wrong" : nWrong === 1 ? "One is wrong" : `${count(nWrong)} are wrong`;
