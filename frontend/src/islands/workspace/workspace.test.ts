import { beforeEach, expect, it, vi } from "vitest";
import { HttpError, NetworkError } from "../../api/http";
import { startIteration } from "../../api/jobs";
import { fetchChanges, postAction, postRedo, postUndo } from "../../api/labels";
import { fetchSimilar } from "../../api/objects";
import { acceptSample, endSample, fetchSample, lookAtMore, postMarks } from "../../api/samples";
import { fetchSuggestedPage } from "../../api/suggestions";
import type { Proposal, Sample } from "../../api/types";
import { ProjectSocket } from "../../live/socket";
import { ActionQueue } from "../../state/action-queue";
import { Emitter } from "../../state/emitter";
import { LabelsStore } from "../../state/labels";
import type { Notice } from "../../state/notices";
import { SelectionStore } from "../../state/selection";
import { SuggestionStore } from "../../state/suggestions";
import { WorkspaceController } from "./controller";
import { Sampling } from "./sampling";

vi.mock("../../api/samples");
vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

const N = 500;
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
const range = (from: number, n: number) => Array.from({ length: n }, (_, i) => from + i);

class News extends Emitter<"state" | "embedding"> {
  come(): void {
    this.emit("state");
  }
}

/** The controller without a page: what the server says is given by each test. */
function makeController() {
  const project = Object.assign(new News(), {
    sampled: { open_sample: null as number | null, allowed: true },
    canLabel: true,
    labelSet: { id: 1 },
    classOf: () => ({ name: "lymphocyte" }),
    setSession: () => undefined,
  });
  const [selection, labels] = [new SelectionStore(), new LabelsStore()];
  selection.resize(N);
  labels.resize(N);
  labels.revision = 0;
  const told: string[] = [];
  const offered: Notice["action"][] = [];
  const dismissed: string[] = [];
  const controller = Object.assign(Object.create(WorkspaceController.prototype), new Emitter<"seen">(), {
    project,
    selection,
    labels,
    config: { api: "", projectId: "" },
    seen: new Uint8Array(N),
    seenCount: 0,
    lookUntil: 0,
    syncing: null,
    syncAgain: false,
    lifetime: new AbortController(),
    notices: {
      shown: [] as Notice[],
      show(notice: Notice) {
        this.shown = [notice];
        told.push(notice.text);
        offered.push(notice.action);
      },
      dismissTopic: (topic: string) => dismissed.push(topic),
    },
    queue: new ActionQueue(),
    selectionContext: () => ({}),
    ageSuggestions: () => undefined,
    showAll: () => undefined,
    showSample(ordinals: Uint32Array) {
      this.seen.fill(0);
      this.seenCount = 0;
      selection.setRegion(ordinals, "sample");
    },
  }) as WorkspaceController;
  const sampling = new Sampling(controller);
  Object.assign(controller, { sampling });
  return { controller, sampling, project, selection, labels, told, offered, dismissed };
}

const sampleOf = (id: number, ordinals: number[]) =>
  ({
    id,
    n: ordinals.length,
    sizes: [50, 90, 130],
    size: N,
    ordinals,
    marked: [],
    stale: "",
    class_value: 1,
    state: "open",
  }) as unknown as Sample;

beforeEach(() => {
  vi.resetAllMocks();
  vi.useRealTimers();
  const nothing = { ordinals: new Uint32Array(0), classes: new Uint8Array(0), unseen: new Uint8Array(0), revision: 0 };
  vi.mocked(fetchChanges).mockResolvedValue(nothing);
});

/** So long that anybody can have looked at what is on the screen. */
const aMinuteLater = () => {
  const later = performance.now() + 60_000;
  vi.spyOn(performance, "now").mockImplementation(() => later);
};

/** The same with an open sample on the screen. */
async function lookingAt(sample: Sample) {
  const made = makeController();
  vi.mocked(fetchSample).mockResolvedValueOnce(sample);
  made.project.sampled.open_sample = sample.id;
  made.project.come();
  await settle();
  made.sampling.show();
  return made;
}

it("does not take the patches of another sample for seen", async () => {
  const { controller, sampling, project, selection } = makeController();
  const samples = new Map([
    [1, sampleOf(1, range(0, 150))],
    [2, sampleOf(2, range(140, 60))],
  ]);
  vi.mocked(fetchSample).mockImplementation((_, id) => Promise.resolve(samples.get(id)!));
  const takeUp = async (id: number) => {
    project.sampled.open_sample = id;
    project.come();
    await settle();
  };
  await takeUp(1);
  sampling.show();
  controller.markSeen(range(0, 150), 150);
  expect(sampling.nSeen).toBe(150);
  await takeUp(2); // ended and drawn anew in another tab
  expect([...selection.order]).toEqual(range(140, 60));
  expect(sampling.nSeen).toBe(0);
  controller.markSeen(range(140, 3), 3);
  expect(sampling.nSeen).toBe(3);
});

it("accepts no sample sooner than anybody can have looked at it", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  vi.mocked(acceptSample).mockResolvedValue({} as never);
  const { controller, sampling, told } = await lookingAt(sampleOf(1, range(0, 50)));
  controller.markSeen(range(0, 50), 50);
  vi.advanceTimersByTime(4_900);
  sampling.goOn();
  expect(told).toEqual([expect.stringMatching(/^That was quick\. Look at each patch: you can go on in \d+ s\.$/)]);
  expect(acceptSample).not.toHaveBeenCalled();
  vi.advanceTimersByTime(200);
  sampling.goOn();
  await settle();
  expect(acceptSample).toHaveBeenCalledExactlyOnceWith("", 1, N, 50);
});

it("keeps and shows what is marked in another tab, and sends only what was marked here", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { sampling, selection } = await lookingAt(sample);
  vi.mocked(postMarks).mockResolvedValueOnce({ ...sample, marked: [7, 30] }); // 30: marked in the other tab
  selection.toggle(7);
  await settle();
  expect(postMarks).toHaveBeenLastCalledWith("", 1, { wrong: [7], not_wrong: [] });
  expect([...selection.picks()]).toEqual([7, 30]);
  expect(sampling.wrong()).toEqual([7, 30]);
  vi.mocked(postMarks).mockResolvedValueOnce({ ...sample, marked: [] }); // 30: taken back there
  selection.toggle(7);
  await settle();
  expect(postMarks).toHaveBeenLastCalledWith("", 1, { wrong: [], not_wrong: [7] });
  expect([...selection.picks()]).toEqual([]);
  expect(postMarks).toHaveBeenCalledTimes(2);
});

it("tells a mark, which leaves an object without a label, from a label of another class", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { sampling, selection, labels } = await lookingAt(sample);
  expect(sampling.hasMarks).toBe(false);
  vi.mocked(postMarks).mockResolvedValue({ ...sample, marked: [7] });
  selection.toggle(7);
  expect(sampling.hasMarks).toBe(true);
  await settle();
  labels.apply({ ordinals: Uint32Array.of(7), classes: Uint8Array.of(2), unseen: Uint8Array.of(0) }, 1);
  expect(sampling.wrong()).toEqual([7]);
  expect(sampling.hasMarks).toBe(false);
});

it("shows what was marked in another tab to whoever comes back to this one", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { project, selection } = await lookingAt(sample);
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sample, marked: [30] });
  project.come();
  await settle();
  expect([...selection.picks()]).toEqual([30]);
  expect(postMarks).not.toHaveBeenCalled();
});

it("keeps what is marked in another tab while a rectangle is drawn here", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { project, selection } = await lookingAt(sample);
  selection.beginRectangle("replace");
  selection.stretchRectangle([7], () => 7);
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sample, marked: [30] }); // marked in the other tab
  project.come();
  await settle();
  selection.stretchRectangle([7, 8], () => 7);
  expect(postMarks).not.toHaveBeenCalled();
  vi.mocked(postMarks).mockResolvedValue({ ...sample, marked: [7, 8, 30] });
  selection.endRectangle();
  await settle();
  expect([...selection.picks()]).toEqual([7, 8, 30]);
  for (const [, , marks] of vi.mocked(postMarks).mock.calls) expect(marks).toEqual({ wrong: [7, 8], not_wrong: [] });
});

it("shows a sample with its marks without taking them back", async () => {
  const { selection } = await lookingAt({ ...sampleOf(1, range(0, 50)), marked: [7] });
  await settle();
  expect([...selection.picks()]).toEqual([7]);
  expect(postMarks).not.toHaveBeenCalled();
});

it("keeps the sample that was drawn in another tab when a mark of the one before is refused", async () => {
  const [first, second] = [sampleOf(1, range(0, 50)), sampleOf(2, range(100, 50))];
  const { sampling, project, selection } = await lookingAt(first);
  vi.mocked(postMarks).mockImplementationOnce(async () => {
    await settle();
    throw new HttpError(409, "this sample has ended");
  });
  selection.toggle(7);
  vi.mocked(fetchSample).mockResolvedValueOnce(second);
  project.sampled.open_sample = 2;
  project.come();
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...first, state: "abandoned" });
  await settle();
  await settle();
  expect(sampling.sample?.id).toBe(2);
});

it("keeps a mark that a late answer does not know of yet", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { sampling, project, selection } = await lookingAt(sample);
  vi.mocked(fetchSample).mockImplementationOnce(async () => {
    await settle();
    return sample;
  });
  vi.mocked(postMarks).mockResolvedValueOnce({ ...sample, marked: [7] });
  project.come();
  selection.toggle(7);
  await settle();
  await settle();
  expect(sampling.wrong()).toEqual([7]);
});

it("keeps a mark that is made while another one is on its way", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { sampling, selection } = await lookingAt(sample);
  vi.mocked(postMarks).mockImplementationOnce(async () => {
    await settle();
    return { ...sample, marked: [7] };
  });
  vi.mocked(postMarks).mockResolvedValueOnce({ ...sample, marked: [7, 8] });
  selection.toggle(7);
  selection.toggle(8);
  await settle();
  await settle();
  expect(postMarks).toHaveBeenLastCalledWith("", 1, { wrong: [8], not_wrong: [] });
  expect(sampling.wrong()).toEqual([7, 8]);
});

it("takes in labels of objects that it has not heard of yet", async () => {
  const { controller, project, labels } = makeController();
  Object.assign(project, { nObjects: N, setNObjects: (n: number) => Object.assign(project, { nObjects: n }) });
  Object.assign(controller, { region: { source: "lasso" } });
  const label = { ordinals: Uint32Array.of(3, N + 9), classes: Uint8Array.of(1, 2), unseen: Uint8Array.of(0, 0) };
  vi.mocked(fetchChanges).mockResolvedValue({ ...label, revision: 4 });
  await (controller as unknown as { syncLabels: () => Promise<void> }).syncLabels();
  expect([labels.shown[3], labels.shown[N + 9]]).toEqual([1, 2]);
  expect(labels.revision).toBe(4);
});

it("shows more of a selection where some are wrong, and accepts the others once so few of so many are", async () => {
  vi.useFakeTimers();
  const sample = sampleOf(1, range(0, 50));
  vi.mocked(fetchSample).mockResolvedValueOnce(sample);
  const { controller, sampling, project, selection, told } = makeController();
  project.sampled.open_sample = 1;
  project.come();
  await vi.advanceTimersByTimeAsync(1);
  sampling.show();
  controller.markSeen(range(0, 50), 50);
  await vi.advanceTimersByTimeAsync(30_000);
  vi.mocked(postMarks).mockResolvedValueOnce({ ...sample, marked: [7] });
  selection.toggle(7);
  await vi.advanceTimersByTimeAsync(1);
  expect(sampling.nMore).toBe(40);

  const larger = { ...sampleOf(1, range(0, 90)), marked: [7] };
  vi.mocked(lookAtMore).mockResolvedValueOnce(larger);
  sampling.goOn();
  await vi.advanceTimersByTimeAsync(1);
  expect(lookAtMore).toHaveBeenCalledExactlyOnceWith("", 1, 90);
  expect([...selection.order]).toEqual(range(0, 90));
  expect([...selection.picks()], "marks stay").toEqual([7]);
  expect([controller.firstRank, selection.cursor], "the new ones begin there, and no key means the first").toEqual([
    50, -1,
  ]);
  expect(sampling.nSeen, "who has seen the first ones has").toBe(50);
  sampling.goOn();
  expect(told).toEqual(["50 of the 90 patches were on the screen. Look at all of them."]);

  controller.markSeen(range(50, 40), 90);
  sampling.goOn();
  expect(told.at(-1), "nobody has looked at the new ones yet").toMatch(/^That was quick\. .* in 4 s\.$/);
  await vi.advanceTimersByTimeAsync(4_000);
  vi.mocked(acceptSample).mockResolvedValue({} as never);
  sampling.goOn();
  await vi.advanceTimersByTimeAsync(1);
  expect(acceptSample).toHaveBeenCalledExactlyOnceWith("", 1, N - 1, 90);
});

it("keeps what is marked while more patches are on their way, also where they are refused or one has left", async () => {
  const sample = { ...sampleOf(1, range(0, 50)), marked: [7] };
  const larger = { ...sampleOf(1, range(0, 90)), marked: [7] };
  for (const [answer, leaves] of [
    [() => Promise.resolve(larger), false],
    [() => Promise.reject(new HttpError(400, "there is a new map")), false],
    [() => Promise.resolve(larger), true],
  ] as const) {
    vi.resetAllMocks();
    const { controller, sampling, selection } = await lookingAt(sample);
    controller.markSeen(range(0, 50), 50);
    vi.mocked(postMarks).mockResolvedValue({ ...larger, marked: [7, 8] });
    vi.mocked(fetchSample).mockResolvedValue({ ...sample, marked: [7, 8] });
    vi.mocked(lookAtMore).mockImplementationOnce(() => {
      selection.toggle(8);
      if (leaves) selection.setRegion(Uint32Array.from(range(0, N)), "all");
      return answer();
    });
    aMinuteLater();
    sampling.goOn();
    await settle();
    expect(postMarks).toHaveBeenCalledExactlyOnceWith("", 1, { wrong: [8], not_wrong: [] });
    sampling.show();
    expect([...selection.picks()]).toEqual([7, 8]);
  }
});

it("goes on where another tab has gone on, with what was marked there", async () => {
  const sample = { ...sampleOf(1, range(0, 50)), marked: [7] };
  const { controller, project, selection } = await lookingAt(sample);
  controller.markSeen(range(0, 30), 30);
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sampleOf(1, range(0, 90)), marked: [7, 60] });
  project.come();
  await settle();
  expect([...selection.order]).toEqual(range(0, 90));
  expect([...selection.picks()]).toEqual([7, 60]);
  expect(controller.firstRank, "with what was not seen here").toBe(30);
  expect(postMarks, "nothing is taken back").not.toHaveBeenCalled();
});

it("does not take what was labeled in a sample back into the picks when more comes", async () => {
  const { controller, sampling, labels, selection } = await lookingAt(sampleOf(1, range(0, 50)));
  controller.markSeen(range(0, 50), 50);
  labels.apply({ ordinals: Uint32Array.of(7), classes: Uint8Array.of(2), unseen: Uint8Array.of(0) }, 1);
  selection.toggle(7);
  vi.mocked(lookAtMore).mockResolvedValueOnce(sampleOf(1, range(0, 90)));
  aMinuteLater();
  sampling.goOn();
  await settle();
  expect(selection.size).toBe(90);
  expect(selection.pickedCount, "a class key would mean it again").toBe(0);
});

it("believes no answer that is older than what is on the screen", async () => {
  const sample = { ...sampleOf(1, range(0, 50)), marked: [7] };
  const { controller, sampling, project, selection } = await lookingAt(sample);
  controller.markSeen(range(0, 50), 50);
  let answer: (sample: Sample) => void = () => undefined;
  vi.mocked(fetchSample).mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
  project.come();
  vi.mocked(lookAtMore).mockResolvedValueOnce({ ...sampleOf(1, range(0, 90)), marked: [7] });
  aMinuteLater();
  sampling.goOn();
  await settle();
  answer(sample);
  await settle();
  expect([sampling.sample?.n, selection.size]).toEqual([90, 90]);

  vi.mocked(fetchSample).mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
  project.come();
  vi.mocked(endSample).mockResolvedValueOnce({ ...sample, state: "refused" });
  sampling.end();
  await settle();
  answer({ ...sampleOf(1, range(0, 90)), marked: [7] });
  await settle();
  expect(sampling.sample, "it has ended").toBeNull();
});

it("looks at no more where too many are wrong", async () => {
  const { controller, sampling, told } = await lookingAt({ ...sampleOf(1, range(0, 50)), marked: [1, 2, 3] });
  controller.markSeen(range(0, 50), 50);
  expect(sampling.nMore).toBeNull();
  sampling.goOn();
  expect(told).toEqual(["3 are wrong: too many for the selection to be accepted."]);
  expect(lookAtMore).not.toHaveBeenCalled();
});

it("says so of an open sample where samples are not allowed any more", async () => {
  const { sampling, project } = makeController();
  vi.mocked(fetchSample).mockResolvedValueOnce(sampleOf(1, range(0, 5)));
  project.sampled.open_sample = 1;
  project.come();
  await settle();
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sampleOf(1, range(0, 5)), stale: "not allowed any more" });
  project.sampled.allowed = false;
  project.come();
  await settle();
  expect(sampling.sample?.stale).toBe("not allowed any more");
});

it("asks again whether a sample is still good once labels change that were in its way", async () => {
  const sample = { ...sampleOf(1, range(0, 5)), stale: "1 object of the selection was labeled" };
  const { sampling, labels } = await lookingAt(sample);
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sample, stale: "" });
  labels.apply({ ordinals: new Uint32Array(0), classes: new Uint8Array(0), unseen: new Uint8Array(0) }, 1);
  await settle();
  expect(sampling.sample?.stale).toBe("");
  const nAsked = vi.mocked(fetchSample).mock.calls.length;
  labels.apply({ ordinals: new Uint32Array(0), classes: new Uint8Array(0), unseen: new Uint8Array(0) }, 1);
  await settle();
  expect(vi.mocked(fetchSample).mock.calls.length, "nothing is in its way: the server has the last word").toBe(nAsked);
});

it("shows the open sample where one is proposed", async () => {
  const { controller, sampling, project, selection, told } = makeController();
  const suggestions = new SuggestionStore();
  Object.assign(controller, { suggestions, regionRequest: null });
  vi.mocked(fetchSample).mockResolvedValue(sampleOf(1, range(10, 5)));
  vi.mocked(fetchSuggestedPage).mockResolvedValue(Uint32Array.from(range(0, 100)));
  project.sampled.open_sample = 1;
  project.come();
  await settle();
  await controller.takeSuggestion({ kind: "sample", class_value: 1, group: null, n: 100 } as Proposal);
  expect(sampling.isShown).toBe(true);
  expect([...selection.order]).toEqual(range(10, 5));
  expect(told).toEqual(["This sample is still open: go on with it, or end it."]);
});

it("says why what comes is not what was promised, where that was passed over", async () => {
  const { controller, project, told } = makeController();
  const suggestions = new SuggestionStore();
  Object.assign(project, { canLabel: true });
  const showRegion = vi.fn();
  Object.assign(controller, { suggestions, regionRequest: null, showRegion });
  const first = { kind: "review", class_value: 1, group: null, n: 30, title: "Review 30" } as Proposal;
  const second = { kind: "review", class_value: 2, group: null, n: 5, title: "Review 5" } as Proposal;
  suggestions.set({ proposals: [first, second], message: "" });
  vi.mocked(fetchSuggestedPage).mockImplementation((_api, _project, proposal, passed) => {
    const page = proposal.class_value === 1 ? range(0, 30) : range(40, 5);
    return Promise.resolve(Uint32Array.from(page.filter((ordinal) => !passed.includes(ordinal))));
  });
  suggestions.passOver(first, range(0, 28));
  await controller.takeSuggestion();
  expect(told).toEqual(["2 of 30: the others were passed over already."]);
  suggestions.passOver(first, range(28, 2));
  await controller.takeSuggestion();
  expect(told.at(-1)).toBe("“Review 30”: all of it was passed over already. The list beside Go has it.");
  suggestions.passOver(second, [40]);
  await controller.takeSuggestion(second);
  expect(told.at(-1)).toBe("4 of 5: the others were passed over already.");
  await controller.takeSuggestion(first);
  expect(showRegion).toHaveBeenLastCalledWith(Uint32Array.from(range(0, 30)), "suggested", expect.anything());
  expect(told).toHaveLength(3);
});

it("does not pass over what was not reached yet, where each gets a key of its own", async () => {
  const { controller, selection, labels } = makeController();
  const suggestions = new SuggestionStore();
  const typical = { kind: "typical", class_value: null, group: null, n: 20, title: "20 typical objects" } as Proposal;
  Object.assign(controller, { suggestions, regionRequest: null, showRegion: vi.fn() });
  vi.mocked(fetchSuggestedPage).mockResolvedValue(new Uint32Array(0));
  suggestions.set({ proposals: [typical], message: "" });
  selection.setRegion(Uint32Array.from(range(0, 20)), "suggested", { proposal: typical });
  controller.markSeen(range(0, 10), 10);
  labels.shown[0] = labels.shown[2] = 1;
  selection.setCursor(3, true); // 1 was skipped
  await controller.takeSuggestion(typical);
  expect(vi.mocked(fetchSuggestedPage).mock.calls[0]?.[3]).toEqual(Uint32Array.of(1));

  labels.shown[0] = labels.shown[2] = 0;
  suggestions.forgetPassed(typical);
  await controller.takeSuggestion(typical);
  const passed = vi.mocked(fetchSuggestedPage).mock.calls.at(-2)?.[3];
  expect(passed, "a page of which none was labeled is not wanted").toEqual(Uint32Array.from(range(0, 10)));
});

it("goes back to the patch whose label was taken back, where each gets a key of its own", async () => {
  const { controller, project, selection, labels } = makeController();
  Object.assign(project, { undo: { text: "" }, redo: null });
  vi.mocked(postUndo).mockResolvedValue({ n_changed: 1, revision: 2, redo: null } as never);
  vi.mocked(fetchChanges).mockResolvedValue({
    ordinals: Uint32Array.of(7),
    classes: Uint8Array.of(0),
    unseen: Uint8Array.of(0),
    revision: 2,
  });
  labels.shown[7] = 3;
  selection.setRegion(Uint32Array.of(5, 7, 9), "suggested");
  selection.setCursor(2, true);
  controller.undo();
  await settle();
  expect(selection.cursor).toBe(1);
});

it("saves what could not be saved as soon as the server is there again", async () => {
  const { controller } = makeController();
  const send = vi.fn().mockRejectedValueOnce(new NetworkError("no answer")).mockResolvedValue(undefined);
  controller.queue.add({ clientKey: "1", send, onSaved: () => undefined, onRefused: () => undefined });
  await settle();
  expect(controller.queue.failing).toBe(true);
  controller["listen"]();
  vi.mocked(ProjectSocket).mock.calls[0]![0].onConnected();
  await settle();
  expect(send).toHaveBeenCalledTimes(2);
  expect(controller.queue.failing).toBe(false);
});

it("undoes and redoes nothing in a sample that was done before it", async () => {
  const { controller, sampling, project, told } = makeController();
  const before = { action_id: 3, text: "219 objects → lymphocyte", at: "2026-11-28T10:00:00+00:00" };
  const since = { action_id: 4, text: "1 object → lymphocyte", at: "2026-11-28T10:10:00+00:00" };
  const sample = { ...sampleOf(1, range(0, 50)), started_at: "2026-11-28T10:05:00+00:00" };
  vi.mocked(fetchSample).mockResolvedValue(sample);
  vi.mocked(postUndo).mockResolvedValue({
    action_id: 5,
    n_changed: 1,
    revision: 2,
    undo: before,
    redo: since,
  } as never);
  Object.assign(project, { undo: since, redo: before });
  project.setSession = ((_: unknown, undo: unknown, redo: unknown) => Object.assign(project, { undo, redo })) as never;
  project.sampled.open_sample = 1;
  project.come();
  await settle();
  sampling.show();
  controller.redo();
  await settle();
  expect(postRedo).not.toHaveBeenCalled();
  expect(told.at(-1)).toBe(
    "What was labeled before this sample can not be redone from within it. To take a mark back, click the patch again.",
  );
  // twice in a hurry: when the second one was asked for, the first one had not been answered
  controller.undo();
  controller.undo();
  await settle();
  expect(postUndo).toHaveBeenCalledOnce();
  expect(told.at(-1)).toMatch(/^What was labeled before this sample can not be undone/);
  controller.selection.setRegion(Uint32Array.from(range(0, N)), "all");
  controller.undo();
  await settle();
  expect(postUndo).toHaveBeenCalledTimes(2);
});

it("says which gesture was undone and how old it is, and shows its objects where the grid has none of them", async () => {
  const { controller, project, selection, labels, told, offered } = makeController();
  Object.assign(project, { undo: { text: "" }, redo: null });
  const undone = { action_id: 8, text: "1 object → lymphocyte", at: new Date(Date.now() - 3 * 3600_000).toISOString() };
  vi.mocked(postUndo).mockResolvedValue({ action_id: 8, n_changed: 1, revision: 2, redo: undone } as never);
  vi.mocked(fetchChanges).mockResolvedValue({
    ordinals: Uint32Array.of(70),
    classes: Uint8Array.of(0),
    unseen: Uint8Array.of(0),
    revision: 2,
  });
  labels.shown[70] = 1;
  selection.setRegion(Uint32Array.of(5, 7, 9), "lasso");
  controller.undo();
  await settle();
  expect(new Set(told)).toEqual(new Set(["Undone: 1 object → lymphocyte, 3 h ago"]));
  const offer = offered.at(-1);
  expect(offer?.text).toBe("Show");
  const showRegion = vi.fn();
  Object.assign(controller, { showRegion });
  offer?.run();
  expect(showRegion).toHaveBeenCalledExactlyOnceWith(Uint32Array.of(70), "undone", {});
});

it("offers an undo's objects no more once another gesture was made, nor where others' changes came with them", async () => {
  const { controller, project, selection, labels, offered } = makeController();
  Object.assign(project, { undo: { text: "" }, redo: null });
  vi.mocked(postUndo).mockResolvedValue({ action_id: 8, n_changed: 1, revision: 2, redo: null } as never);
  vi.mocked(postAction).mockResolvedValue({ n_changed: 1, revision: 3 } as never);
  const change = { ordinals: Uint32Array.of(70, 71), classes: Uint8Array.of(0, 2), unseen: Uint8Array.of(0, 0) };
  vi.mocked(fetchChanges).mockResolvedValue({ ...change, revision: 2 });
  labels.shown[70] = 1;
  selection.setRegion(Uint32Array.of(5, 7, 9), "lasso");
  controller.undo();
  await settle();
  expect(offered.map((action) => action?.text)).toEqual(["Redo"]);

  labels.shown[70] = 1;
  vi.mocked(fetchChanges).mockImplementation(async () => {
    controller.labelOrdinals(Uint32Array.of(5), 1);
    return Promise.resolve({ ...change, ordinals: Uint32Array.of(70), classes: Uint8Array.of(0), revision: 3 });
  });
  controller.undo();
  await settle();
  expect(offered.map((action) => action?.text)).toEqual(["Redo", "Redo", "Undo"]);
});

it("changes a page after an undo once the rectangle that is being drawn has ended, also where that is given up", async () => {
  const { controller, project, selection, labels } = makeController();
  Object.assign(project, { undo: { text: "" }, redo: null });
  vi.mocked(postUndo).mockResolvedValue({ n_changed: 10, revision: 2, redo: null } as never);
  vi.mocked(fetchChanges).mockResolvedValue({
    ordinals: Uint32Array.from(range(0, 10)),
    classes: new Uint8Array(10),
    unseen: new Uint8Array(10),
    revision: 2,
  });
  labels.shown.fill(1, 0, 10);
  selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", { reviewClass: 1, pickAll: true });
  selection.hold();
  controller.undo();
  selection.beginRectangle("replace");
  selection.stretchRectangle([2, 3], () => 2);
  await settle();
  expect([...selection.picks()]).toEqual([2, 3]);
  selection.giveUpRectangle();
  expect(selection.pickedCount).toBe(10);
  expect(selection.held).toBe(false);
});

it("has a page that was undone as it was before: a click takes the wrong one out", async () => {
  const { controller, selection, labels, project } = makeController();
  Object.assign(project, { undo: { text: "" }, redo: null });
  vi.mocked(postAction).mockResolvedValue({ n_changed: 10, revision: 1 } as never);
  vi.mocked(postUndo).mockImplementation(() => {
    const answer = {
      ordinals: Uint32Array.from(range(0, 10)),
      classes: new Uint8Array(10),
      unseen: new Uint8Array(10),
    };
    vi.mocked(fetchChanges).mockResolvedValue({ ...answer, revision: 2 });
    return Promise.resolve({ n_changed: 10, revision: 2, redo: null } as never);
  });
  selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(range(0, 10), 10);
  controller.confirm();
  await settle();
  expect(labels.shown[3]).toBe(1);
  controller.undo();
  await settle();
  expect(labels.shown[3]).toBe(0);
  selection.toggle(3);
  expect([...selection.picks()]).toEqual(range(0, 10).filter((ordinal) => ordinal !== 3));
});

it("brings what was undone of a page back onto the screen, where the next Enter means it and nothing else", async () => {
  const { controller, selection, labels, project } = makeController();
  Object.assign(project, { undo: { text: "" }, redo: { text: "" } });
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const stepTo = (value: number, revision: number) => {
    const changes = { ordinals: Uint32Array.from(range(0, 5)), classes: new Uint8Array(5).fill(value) };
    vi.mocked(fetchChanges).mockResolvedValue({ ...changes, unseen: new Uint8Array(5), revision });
    return Promise.resolve({ n_changed: 5, revision, undo: { text: "" }, redo: { text: "" } } as never);
  };
  vi.mocked(postUndo).mockImplementation(() => stepTo(0, 2));
  vi.mocked(postRedo).mockImplementation(() => stepTo(1, 3));
  const shown = () => range(0, 10).map((ordinal) => labels.shown[ordinal]);
  selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(range(0, 5), 5);
  controller.confirm();
  await settle();
  expect([...selection.picks()], "what was not on the screen yet comes next").toEqual(range(5, 5));
  controller.markSeen(range(5, 5), 10);
  const begun: number[] = [];
  controller.on("onward", () => begun.push(selection.order[selection.cursor]!));
  controller.undo();
  await settle();
  expect(begun).toEqual([0]);
  controller.redo();
  await settle();
  expect([...selection.picks()], "none that has its label again").toEqual(range(5, 5));
  expect(begun, "what is open comes back onto the screen").toEqual([0, 5]);
  controller.undo();
  await settle();
  controller.markSeen(range(0, 5), 5);
  Object.assign(controller, { lookUntil: 0 }); // a person's look takes longer
  controller.confirm();
  expect(shown()).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
  await settle();
});

it("leaves out what was taken out of a page, whatever of it was undone since, and says when all is labeled", async () => {
  const { controller, selection, labels, project, told } = makeController();
  Object.assign(project, { undo: { text: "" }, redo: { text: "" } });
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const steps = (value: number, revision: number) => () => {
    const changes = { ordinals: Uint32Array.from(range(5, 5)), classes: new Uint8Array(5).fill(value) };
    vi.mocked(fetchChanges).mockResolvedValue({ ...changes, unseen: new Uint8Array(5), revision });
    return Promise.resolve({ n_changed: 5, revision, undo: { text: "" }, redo: { text: "" } } as never);
  };
  vi.mocked(postUndo).mockImplementation(steps(0, 2));
  vi.mocked(postRedo).mockImplementation(steps(1, 3));
  const enter = () => {
    Object.assign(controller, { lookUntil: 0 });
    controller.confirm();
  };
  selection.setRegion(Uint32Array.from(range(0, 15)), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(range(0, 5), 5);
  selection.toggle(3);
  enter();
  controller.markSeen(range(5, 5), 10);
  enter();
  controller.markSeen(range(10, 5), 15);
  await settle();
  controller.undo();
  await settle();
  controller.markSeen(range(5, 10), 15);
  enter();
  enter();
  controller.markSeen([3], 15); // were it brought up, it would be on the screen
  enter();
  expect(range(0, 15).filter((ordinal) => labels.shown[ordinal] === 0)).toEqual([3]);
  await settle();

  selection.setRegion(Uint32Array.from(range(5, 5)), "suggested", { reviewClass: 1, pickAll: true });
  controller.undo();
  await settle();
  controller.redo();
  await settle();
  enter();
  expect(told.at(-1)).toBe("All of these are labeled. G goes on.");
});

it("searches for what is like the patch pointed at where nobody picked any, and like the picked ones elsewhere", async () => {
  const { controller, selection } = makeController();
  const page = Uint32Array.from(range(0, 24));
  vi.mocked(fetchSimilar).mockResolvedValue({ ordinals: page } as never);
  Object.assign(controller, { filters: { mode: "all", classes: new Set() }, regionRequest: null });
  Object.assign(controller, { showRegion: vi.fn() });
  const searched = () => (vi.mocked(fetchSimilar).mock.lastCall![2] as { ordinals: Uint32Array }).ordinals;
  selection.setRegion(page, "suggested", { reviewClass: 1, pickAll: true });
  await controller.searchSimilar(7);
  expect([...searched()]).toEqual([7]);
  await controller.searchSimilar(-1);
  expect([...searched()]).toEqual([...page]);
  selection.setRegion(page, "lasso");
  selection.toggle(3);
  await controller.searchSimilar(7);
  expect([...searched()]).toEqual([3]);
});

it("says that an answer is on its way where it takes long, and no more when it is there", async () => {
  vi.useFakeTimers();
  const { controller, selection, told, dismissed } = makeController();
  Object.assign(controller, { filters: { mode: "all", classes: new Set() }, regionRequest: null, showRegion: vi.fn() });
  let answer: (found: never) => void = () => undefined;
  vi.mocked(fetchSimilar).mockReturnValue(new Promise((resolve) => (answer = resolve)));
  selection.setRegion(Uint32Array.of(1, 2), "lasso");
  const search = controller.searchSimilar(1);
  vi.advanceTimersByTime(300);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(200);
  expect(told).toEqual(["Searching for similar objects …"]);
  answer({ ordinals: Uint32Array.of(2) } as never);
  await search;
  expect(dismissed).toEqual(["search"]);

  vi.mocked(fetchSimilar).mockImplementation((_api, _project, _to, _options, { signal } = {}) => {
    return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  });
  const givenUp = controller.searchSimilar(1);
  vi.advanceTimersByTime(500);
  expect(told).toHaveLength(2);
  controller.stopAsking();
  await givenUp;
  expect(dismissed).toEqual(["search", "search"]);
});

it("labels what was clicked out of a page by another class's key, before the page is confirmed and after", async () => {
  const { controller, selection, labels } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 8, revision: 1 } as never);
  const page = range(0, 10);
  const labeled = (value: number) => page.filter((ordinal) => labels.shown[ordinal] === value);
  selection.setRegion(Uint32Array.from(page), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(page, 10);
  selection.toggle(3);
  selection.toggle(4);
  controller.label(2);
  expect(labeled(2)).toEqual([3, 4]);
  controller.label(3); // a wrong key is corrected by the right one
  expect(labeled(3)).toEqual([3, 4]);
  controller.label(null);
  expect(labeled(0)).toEqual(page);
  controller.label(2);
  expect([labeled(2), labeled(0)]).toEqual([[3, 4], page.filter((ordinal) => ordinal !== 3 && ordinal !== 4)]);
  controller.confirm();
  expect(labeled(1)).toEqual(page.filter((ordinal) => ordinal !== 3 && ordinal !== 4));
  await settle();

  const next = range(20, 10);
  selection.setRegion(Uint32Array.from(next), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(next, 10);
  selection.toggle(3);
  controller.confirm();
  controller.label(2);
  expect([labels.shown[23], labels.shown[22]]).toEqual([2, 1]);
  controller.label(3);
  expect([labels.shown[23], labels.shown[22]]).toEqual([3, 1]);
});

it("says what a label took the place of, and how many of the labeled nobody can have seen", async () => {
  const { controller, selection, labels, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 195, revision: 1 } as never);
  for (const ordinal of range(0, 5)) labels.shown[ordinal] = 1;
  for (const ordinal of range(5, 20)) labels.shown[ordinal] = 2;
  selection.setRegion(Uint32Array.from(range(0, 200)), "lasso");
  controller.markSeen(range(0, 50), 50);
  selection.pickAll();
  controller.label(1);
  expect(told.at(-1)).toBe(
    "195 objects labeled lymphocyte; 5 were so before; 20 had another class. 150 of them were not on the screen",
  );
  selection.pickOnly(199);
  controller.label(2);
  expect(told.at(-1)).toBe("1 object labeled lymphocyte");
  await settle();
});

it("replaces a hundred labels by a second press alone, and corrects what was just labeled by one", async () => {
  const { controller, selection, labels, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 300, revision: 1 } as never);
  for (const ordinal of range(0, 150)) labels.shown[ordinal] = 2;
  const labeled = (value: number) => range(0, 300).filter((ordinal) => labels.shown[ordinal] === value).length;
  selection.setRegion(Uint32Array.from(range(0, 300)), "lasso");
  selection.pickAll();
  controller.label(1);
  expect(labeled(2)).toBe(150);
  expect(told.at(-1)).toBe("150 of these have another class. Once more labels them lymphocyte all the same.");
  controller.label(3);
  expect(labeled(2), "another key asks anew").toBe(150);
  controller.label(3);
  expect(labeled(3)).toBe(300);
  controller.label(1);
  expect(labeled(1), "a wrong key is corrected by the right one").toBe(300);
  selection.pickAll();
  controller.label(null);
  expect(told.at(-1)).toBe("300 labels would go. Once more removes them.");
  controller.label(null);
  expect(labeled(0)).toBe(300);
  await settle();
});

it("labels a page that nothing was clicked out of otherwise only where all of it was selected by hand", async () => {
  const { controller, selection, labels, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const shown = () => range(0, 5).map((ordinal) => labels.shown[ordinal]);
  selection.setRegion(Uint32Array.from(range(0, 5)), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(range(0, 5), 5);
  controller.label(2);
  expect(shown()).toEqual([0, 0, 0, 0, 0]);
  controller.confirm();
  controller.label(2);
  expect(shown()).toEqual([1, 1, 1, 1, 1]);
  expect(told.filter((text) => text.startsWith("Take the wrong ones out first"))).toHaveLength(2);
  selection.pickAll();
  controller.label(2);
  controller.label(3); // a wrong key is corrected by the right one
  expect(shown()).toEqual([3, 3, 3, 3, 3]);
  await settle();
});

it("labels what was picked by hand, whatever was clicked out of the page before", async () => {
  const { controller, selection, labels } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const shown = () => range(0, 5).map((ordinal) => labels.shown[ordinal]);
  selection.setRegion(Uint32Array.from(range(0, 5)), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(range(0, 5), 5);
  selection.toggle(4);
  controller.confirm();
  selection.toggle(0); // a second look: this one was wrong, too
  controller.label(2);
  expect(shown()).toEqual([2, 1, 1, 1, 0]);
  controller.label(3);
  expect(shown()).toEqual([3, 1, 1, 1, 0]);
  selection.pickAll();
  controller.label(2);
  expect(shown()).toEqual([2, 2, 2, 2, 2]);
  await settle();
});

it("starts one training by a double click", async () => {
  const { controller, project, told } = makeController();
  const setJob = vi.fn();
  Object.assign(project, { canTrain: true, isTraining: false, nObjects: N, setJob });
  vi.mocked(startIteration).mockResolvedValue({ id: 1 } as never);
  await Promise.all([controller.train(), controller.train()]);
  expect(startIteration).toHaveBeenCalledOnce();
  expect(setJob).toHaveBeenCalledOnce();
  expect(told).toEqual(["The model is being trained already. Labeling goes on meanwhile."]);
});

it("says that nothing is labeled while a sample is drawn, and labels while one is on its way", () => {
  const { controller, sampling, selection, told } = makeController();
  const labelOrdinals = vi.spyOn(controller, "labelOrdinals").mockReturnValue();
  selection.setRegion(Uint32Array.of(0, 1), "lasso", { pickAll: true });
  sampling.isDrawing = true;
  controller.label(1);
  expect(labelOrdinals).not.toHaveBeenCalled();
  expect(told).toEqual(["The sample is being drawn. Nothing was labeled."]);
  [sampling.isDrawing, sampling.busy] = [false, true];
  controller.label(1);
  expect(labelOrdinals).toHaveBeenCalledOnce();
});

it("knows how many Enter will label: what was on the screen, was not taken out and has no label", async () => {
  const { controller, selection, labels } = makeController();
  vi.mocked(postAction).mockReturnValue(new Promise(() => undefined));
  selection.setRegion(Uint32Array.from(range(0, 15)), "suggested", { reviewClass: 1, pickAll: true });
  expect(controller.nToConfirm).toBe(0);
  controller.markSeen(range(0, 10), 10);
  selection.toggle(3);
  labels.propose(Uint32Array.of(7), 2); // by a colleague, meanwhile
  expect(controller.nToConfirm).toBe(8);
  controller.confirm();
  expect(range(0, 15).filter((ordinal) => labels.shown[ordinal] === 1)).toHaveLength(8);
  expect(controller.nToConfirm).toBe(0);
  controller.markSeen(range(10, 5), 15);
  expect(controller.nToConfirm).toBe(5);
  Object.assign(controller, { lookUntil: 0 }); // somebody looked
  controller.confirm();
  expect(controller.nToConfirm).toBe(0);
  labels.propose(Uint32Array.of(12, 13), 0); // taken back by a colleague
  expect(controller.nToConfirm).toBe(2);
  controller.confirm();
  expect([12, 13].map((ordinal) => labels.shown[ordinal])).toEqual([1, 1]);
});

it("labels nothing of a page by Enter for whoever may only look", () => {
  const { controller, selection, project } = makeController();
  Object.assign(project, { canLabel: false });
  selection.setRegion(Uint32Array.from(range(0, 15)), "suggested", { reviewClass: 1, pickAll: true });
  controller.markSeen(range(0, 15), 15);
  expect(controller.nToConfirm).toBe(0);
});

it("tells the server who was left out of a page that is confirmed, but not whom nobody saw", async () => {
  const { controller, selection } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n: 2, n_changed: 2, revision: 1 } as never);
  selection.setRegion(Uint32Array.of(0, 1, 2, 3, 4), "review", { reviewClass: 1, pickAll: true });
  controller.markSeen([0, 1, 2, 3], 4);
  selection.toggle(3);
  selection.toggle(4);
  controller.label(1);
  await settle();
  const [, , action, ordinals] = vi.mocked(postAction).mock.calls[0]!;
  expect([...ordinals]).toEqual([0, 1, 2]);
  expect(action.selection.left_out).toEqual([3]);
});

it("shows a colleague's label that came in while one's own gesture was on its way", async () => {
  const { controller, labels } = makeController();
  const history = [{ revision: 1, ordinal: 5, value: 2 }];
  vi.mocked(fetchChanges).mockImplementation(async (_api, _set, since) => {
    const changes = history.filter(({ revision }) => revision > since);
    const revision = history.at(-1)!.revision;
    await new Promise((resolve) => setTimeout(resolve, 1));
    return {
      ordinals: Uint32Array.from(changes.map(({ ordinal }) => ordinal)),
      classes: Uint8Array.from(changes.map(({ value }) => value)),
      unseen: new Uint8Array(changes.length),
      revision,
    };
  });
  let answer: (result: never) => void = () => undefined;
  vi.mocked(postAction).mockReturnValue(new Promise((resolve) => (answer = resolve)));
  const isFetched = controller["syncLabels"]();
  controller.labelOrdinals(Uint32Array.of(5, 6), 1, { onlyUnlabeled: true });
  await isFetched;
  history.push({ revision: 2, ordinal: 9, value: 2 }, { revision: 3, ordinal: 6, value: 1 });
  answer({ n: 1, n_changed: 1, revision: 3 } as never);
  await settle();
  expect([labels.shown[5], labels.shown[6], labels.shown[9]]).toEqual([2, 1, 2]);
  expect(labels.revision).toBe(3);
});
