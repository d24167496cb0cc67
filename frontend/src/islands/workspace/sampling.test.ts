import { expect, it, vi } from "vitest";
import { HttpError } from "../../api/http";
import { acceptSample, endSample, fetchSample, lookAtMore, postMarks } from "../../api/samples";
import type { Sample } from "../../api/types";
import { lookFor, makeController, N, range, sampleOf, settle } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

/** The same with an open sample on the screen. */
async function lookingAt(sample: Sample) {
  const made = makeController();
  vi.mocked(fetchSample).mockResolvedValueOnce(sample);
  made.hear({ sampled: { open_sample: sample.id } });
  await settle();
  made.sampling.show();
  return made;
}

it("does not take the patches of another sample for seen", async () => {
  const { controller, sampling, hear, selection } = makeController();
  const samples = new Map([
    [1, sampleOf(1, range(0, 150))],
    [2, sampleOf(2, range(140, 60))],
  ]);
  vi.mocked(fetchSample).mockImplementation((_, id) => Promise.resolve(samples.get(id)!));
  const takeUp = async (id: number) => {
    hear({ sampled: { open_sample: id } });
    await settle();
  };
  await takeUp(1);
  sampling.show();
  controller.region.markSeen(range(0, 150), 150);
  expect(sampling.nSeen).toBe(150);
  await takeUp(2); // ended and drawn anew in another tab
  expect([...selection.order]).toEqual(range(140, 60));
  expect(sampling.nSeen).toBe(0);
  controller.region.markSeen(range(140, 3), 3);
  expect(sampling.nSeen).toBe(3);
});

it("accepts no sample sooner than anybody can have looked at it", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  vi.mocked(acceptSample).mockResolvedValue({} as never);
  const { controller, sampling, told } = await lookingAt(sampleOf(1, range(0, 50)));
  controller.region.markSeen(range(0, 50), 50);
  vi.advanceTimersByTime(4_900);
  sampling.goOn();
  expect(told).toEqual([expect.stringMatching(/^That was quick\. Look at each patch: you can go on in \d+ s\.$/)]);
  expect(acceptSample).not.toHaveBeenCalled();
  vi.advanceTimersByTime(200);
  sampling.goOn();
  await settle();
  expect(acceptSample).toHaveBeenCalledExactlyOnceWith("", 1, N, 50, expect.any(Number));
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
  const { hear, selection } = await lookingAt(sample);
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sample, marked: [30] });
  hear();
  await settle();
  expect([...selection.picks()]).toEqual([30]);
  expect(postMarks).not.toHaveBeenCalled();
});

it("keeps what is marked in another tab while a rectangle is drawn here", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { hear, selection } = await lookingAt(sample);
  selection.beginRectangle("replace");
  selection.stretchRectangle([7], () => 7);
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sample, marked: [30] }); // marked in the other tab
  hear();
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
  const { sampling, hear, selection } = await lookingAt(first);
  vi.mocked(postMarks).mockImplementationOnce(async () => {
    await settle();
    throw new HttpError(409, "this sample has ended");
  });
  selection.toggle(7);
  vi.mocked(fetchSample).mockResolvedValueOnce(second);
  hear({ sampled: { open_sample: 2 } });
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...first, state: "abandoned" });
  await settle();
  await settle();
  expect(sampling.sample?.id).toBe(2);
});

it("keeps a mark that a late answer does not know of yet", async () => {
  const sample = sampleOf(1, range(0, 50));
  const { sampling, hear, selection } = await lookingAt(sample);
  vi.mocked(fetchSample).mockImplementationOnce(async () => {
    await settle();
    return sample;
  });
  vi.mocked(postMarks).mockResolvedValueOnce({ ...sample, marked: [7] });
  hear();
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

it("shows more of a selection where some are wrong, and accepts the others once so few of so many are", async () => {
  vi.useFakeTimers();
  const sample = sampleOf(1, range(0, 50));
  vi.mocked(fetchSample).mockResolvedValueOnce(sample);
  const { controller, sampling, hear, selection, told } = makeController();
  hear({ sampled: { open_sample: 1 } });
  await vi.advanceTimersByTimeAsync(1);
  sampling.show();
  controller.region.markSeen(range(0, 50), 50);
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
  expect(
    [controller.region.firstRank, selection.cursor],
    "the new ones begin there, and no key means the first",
  ).toEqual([50, -1]);
  expect(sampling.nSeen, "who has seen the first ones has").toBe(50);
  sampling.goOn();
  expect(told).toEqual(["50 of the 90 patches were on the screen. Look at all of them."]);

  controller.region.markSeen(range(50, 40), 90);
  sampling.goOn();
  expect(told.at(-1), "nobody has looked at the new ones yet").toMatch(/^That was quick\. .* in 4 s\.$/);
  await vi.advanceTimersByTimeAsync(4_000);
  vi.mocked(acceptSample).mockResolvedValue({} as never);
  sampling.goOn();
  await vi.advanceTimersByTimeAsync(1);
  expect(acceptSample).toHaveBeenCalledExactlyOnceWith("", 1, N - 1, 90, expect.any(Number));
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
    controller.region.markSeen(range(0, 50), 50);
    vi.mocked(postMarks).mockResolvedValue({ ...larger, marked: [7, 8] });
    vi.mocked(fetchSample).mockResolvedValue({ ...sample, marked: [7, 8] });
    vi.mocked(lookAtMore).mockImplementationOnce(() => {
      selection.toggle(8);
      if (leaves) selection.setRegion(Uint32Array.from(range(0, N)), "all");
      return answer();
    });
    lookFor(60_000);
    sampling.goOn();
    await settle();
    expect(postMarks).toHaveBeenCalledExactlyOnceWith("", 1, { wrong: [8], not_wrong: [] });
    sampling.show();
    expect([...selection.picks()]).toEqual([7, 8]);
  }
});

it("goes on where another tab has gone on, with what was marked there", async () => {
  const sample = { ...sampleOf(1, range(0, 50)), marked: [7] };
  const { controller, hear, selection } = await lookingAt(sample);
  controller.region.markSeen(range(0, 30), 30);
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sampleOf(1, range(0, 90)), marked: [7, 60] });
  hear();
  await settle();
  expect([...selection.order]).toEqual(range(0, 90));
  expect([...selection.picks()]).toEqual([7, 60]);
  expect(controller.region.firstRank, "with what was not seen here").toBe(30);
  expect(postMarks, "nothing is taken back").not.toHaveBeenCalled();
});

it("does not take what was labeled in a sample back into the picks when more comes", async () => {
  const { controller, sampling, labels, selection } = await lookingAt(sampleOf(1, range(0, 50)));
  controller.region.markSeen(range(0, 50), 50);
  labels.apply({ ordinals: Uint32Array.of(7), classes: Uint8Array.of(2), unseen: Uint8Array.of(0) }, 1);
  selection.toggle(7);
  vi.mocked(lookAtMore).mockResolvedValueOnce(sampleOf(1, range(0, 90)));
  lookFor(60_000);
  sampling.goOn();
  await settle();
  expect(selection.size).toBe(90);
  expect(selection.pickedCount, "a class key would mean it again").toBe(0);
});

it("believes no answer that is older than what is on the screen", async () => {
  const sample = { ...sampleOf(1, range(0, 50)), marked: [7] };
  const { controller, sampling, hear, selection } = await lookingAt(sample);
  controller.region.markSeen(range(0, 50), 50);
  let answer: (sample: Sample) => void = () => undefined;
  vi.mocked(fetchSample).mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
  hear();
  vi.mocked(lookAtMore).mockResolvedValueOnce({ ...sampleOf(1, range(0, 90)), marked: [7] });
  lookFor(60_000);
  sampling.goOn();
  await settle();
  answer(sample);
  await settle();
  expect([sampling.sample?.n, selection.size]).toEqual([90, 90]);

  vi.mocked(fetchSample).mockReturnValueOnce(new Promise((resolve) => (answer = resolve)));
  hear();
  vi.mocked(endSample).mockResolvedValueOnce({ ...sample, state: "refused" });
  sampling.end();
  await settle();
  answer({ ...sampleOf(1, range(0, 90)), marked: [7] });
  await settle();
  expect(sampling.sample, "it has ended").toBeNull();
});

it("looks at no more where too many are wrong", async () => {
  const { controller, sampling, told } = await lookingAt({ ...sampleOf(1, range(0, 50)), marked: [1, 2, 3] });
  controller.region.markSeen(range(0, 50), 50);
  expect(sampling.nMore).toBeNull();
  sampling.goOn();
  expect(told).toEqual(["3 are wrong: too many for the selection to be accepted."]);
  expect(lookAtMore).not.toHaveBeenCalled();
});

it("says so of an open sample where samples are not allowed any more", async () => {
  const { sampling, hear } = makeController();
  vi.mocked(fetchSample).mockResolvedValueOnce(sampleOf(1, range(0, 5)));
  hear({ sampled: { open_sample: 1 } });
  await settle();
  vi.mocked(fetchSample).mockResolvedValueOnce({ ...sampleOf(1, range(0, 5)), stale: "not allowed any more" });
  hear({ sampled: { allowed: false } });
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

it("says that nothing is labeled while a sample is drawn, and labels while one is on its way", () => {
  const { controller, sampling, selection, told } = makeController();
  const labelOrdinals = vi.spyOn(controller.labeling, "labelOrdinals").mockReturnValue();
  selection.setRegion(Uint32Array.of(0, 1), "lasso", { pickAll: true });
  sampling.isDrawing = true;
  controller.labeling.label(1);
  expect(labelOrdinals).not.toHaveBeenCalled();
  expect(told).toEqual(["The sample is being drawn. Nothing was labeled."]);
  [sampling.isDrawing, sampling.busy] = [false, true];
  controller.labeling.label(1);
  expect(labelOrdinals).toHaveBeenCalledOnce();
});

it("does not take what was just labeled for what is to be accepted", () => {
  const { sampling, selection, labels } = makeController();
  selection.setRegion(Uint32Array.from(range(0, 10)), "lasso");
  selection.pickOrdinals([3]);
  expect([...sampling.candidates()]).toEqual([3]);
  labels.apply({ ordinals: Uint32Array.of(3), classes: Uint8Array.of(1), unseen: Uint8Array.of(0) }, 1);
  selection.hold();
  expect([...sampling.candidates()]).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9]);
});
