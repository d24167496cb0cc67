import { expect, it, vi } from "vitest";
import { HttpError } from "../../api/http";
import { fetchSample } from "../../api/samples";
import { fetchSuggestedPage, fetchSuggestions } from "../../api/suggestions";
import type { Proposal } from "../../api/types";
import { makeController, range, sampleOf, settle } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

const REVIEW = {
  kind: "review",
  class_value: 1,
  group: null,
  n: 30,
  title: "Review 30",
  expected_right: 0.9,
} as Proposal;

it("shows the open sample where one is proposed", async () => {
  const { controller, sampling, hear, selection, told } = makeController();
  vi.mocked(fetchSample).mockResolvedValue(sampleOf(1, range(10, 5)));
  vi.mocked(fetchSuggestedPage).mockResolvedValue(Uint32Array.from(range(0, 100)));
  hear({ sampled: { open_sample: 1 } });
  await settle();
  await controller.next.take({ kind: "sample", class_value: 1, group: null, n: 100 } as Proposal);
  expect(sampling.isShown).toBe(true);
  expect([...selection.order]).toEqual(range(10, 5));
  expect(told).toEqual(["This sample is still open: go on with it, or end it."]);
});

it("says why what comes is not what was promised, where that was passed over", async () => {
  const { controller, selection, told } = makeController();
  const { suggestions } = controller;
  const first = { kind: "review", class_value: 1, group: null, n: 30, title: "Review 30" } as Proposal;
  const second = { kind: "review", class_value: 2, group: null, n: 5, title: "Review 5" } as Proposal;
  suggestions.set({ proposals: [first, second], message: "" });
  vi.mocked(fetchSuggestedPage).mockImplementation((_api, _project, proposal, passed) => {
    const page = proposal.class_value === 1 ? range(0, 30) : range(40, 5);
    return Promise.resolve(Uint32Array.from(page.filter((ordinal) => !passed.includes(ordinal))));
  });
  suggestions.passOver(first, range(0, 28));
  await controller.next.take();
  expect(told).toEqual(["2 of 30: the others were passed over already."]);
  suggestions.passOver(first, range(28, 2));
  await controller.next.take();
  expect(told.at(-1)).toBe("“Review 30”: all of it was passed over already. The list beside Go has it.");
  suggestions.passOver(second, [40]);
  await controller.next.take(second);
  expect(told.at(-1)).toBe("4 of 5: the others were passed over already.");
  await controller.next.take(first);
  expect([...selection.order]).toEqual(range(0, 30));
  expect(told).toHaveLength(3);
});

it("does not pass over what was not reached yet, where each gets a key of its own", async () => {
  const { controller, selection, labels } = makeController();
  const { suggestions } = controller;
  const typical = { kind: "typical", class_value: null, group: null, n: 20, title: "20 typical objects" } as Proposal;
  vi.mocked(fetchSuggestedPage).mockResolvedValue(new Uint32Array(0));
  suggestions.set({ proposals: [typical], message: "" });
  selection.setRegion(Uint32Array.from(range(0, 20)), "suggested", { proposal: typical });
  controller.region.markSeen(range(0, 10), 10);
  labels.shown[0] = labels.shown[2] = 1;
  selection.setCursor(3, true); // 1 was skipped
  await controller.next.take(typical);
  expect(vi.mocked(fetchSuggestedPage).mock.calls[0]?.[3]).toEqual(Uint32Array.of(1));

  labels.shown[0] = labels.shown[2] = 0;
  suggestions.forgetPassed(typical);
  await controller.next.take(typical);
  const passed = vi.mocked(fetchSuggestedPage).mock.calls.at(-2)?.[3];
  expect(passed, "a page of which none was labeled is not wanted").toEqual(Uint32Array.from(range(0, 10)));
});

it("selects a page to be confirmed where most of it is expected to be right, and nothing of one that is half wrong", async () => {
  const { controller, selection } = makeController();
  const doubtful = { kind: "doubtful", class_value: 1, group: null, n: 20, title: "20" } as Proposal;
  vi.mocked(fetchSuggestedPage).mockResolvedValue(Uint32Array.from(range(0, 20)));
  await controller.next.take({ ...doubtful, expected_right: 0.9 });
  expect([selection.reviewClass, selection.pickedCount]).toEqual([1, 20]);
  await controller.next.take({ ...doubtful, expected_right: 0.51 });
  expect([selection.reviewClass, selection.pickedCount, selection.cursor], "one key an object").toEqual([null, 0, 0]);
});

it("opens what the bar said, where labels have changed the order since, but not the page that is on the screen again", async () => {
  const { controller, selection } = makeController();
  const { suggestions } = controller;
  const first = REVIEW;
  const second = { ...first, class_value: 2 };
  vi.mocked(fetchSuggestedPage).mockImplementation((_api, _project, proposal) =>
    Promise.resolve(Uint32Array.from(range(proposal.class_value === 1 ? 0 : 40, 30))),
  );
  vi.mocked(fetchSuggestions).mockResolvedValue({ proposals: [second, { ...first, n: 28 }], message: "" });
  suggestions.set({ proposals: [first, second], message: "" });
  suggestions.age();
  await controller.next.take();
  expect(selection.reviewClass).toBe(1);

  suggestions.set({ proposals: [first, second], message: "" });
  suggestions.age();
  await controller.next.take();
  expect(selection.reviewClass, "the first is on the screen: its bar is old").toBe(2);

  suggestions.set({ proposals: [first], message: "" });
  suggestions.age();
  vi.mocked(fetchSuggestions).mockResolvedValue({ proposals: [second], message: "" });
  selection.setRegion(Uint32Array.from(range(0, 20)), "lasso");
  await controller.next.take();
  expect(selection.reviewClass, "what was read is gone").toBe(2);
});

it("waits for the last keys to be saved, and goes on, where all that the server proposes has a label by now", async () => {
  const { controller, selection, labels, told } = makeController();
  const { suggestions, queue } = controller;
  const typical = { kind: "typical", class_value: null, group: null, n: 3, title: "3 typical objects" } as Proposal;
  let isSaved = false;
  let save: () => void = () => undefined;
  vi.mocked(fetchSuggestedPage).mockImplementation((_api, _project, proposal) =>
    Promise.resolve(Uint32Array.from(proposal.kind === "review" ? range(40, 30) : isSaved ? [] : range(0, 3))),
  );
  vi.mocked(fetchSuggestions).mockImplementation(() =>
    Promise.resolve({ proposals: isSaved ? [REVIEW] : [typical], message: "" }),
  );
  suggestions.set({ proposals: [typical], message: "" });
  labels.shown.fill(1, 0, 3);
  queue.add({
    clientKey: "the last key",
    send: () => new Promise<void>((resolve) => (save = resolve)),
    onSaved: () => (isSaved = true),
    onRefused: () => undefined,
  });
  const taken = controller.next.take();
  await settle();
  expect(told, "nothing is said to be left over").toEqual([]);
  save();
  await taken;
  expect([...selection.order]).toEqual(range(40, 30));
  expect(told).toEqual([]);

  isSaved = false;
  suggestions.set({ proposals: [typical], message: "" });
  queue.add({
    clientKey: "one that does not get through",
    send: () => Promise.reject(new HttpError(503, "the server is busy")),
    onSaved: () => undefined,
    onRefused: () => undefined,
  });
  await controller.next.take(typical);
  expect(told).toEqual(["What comes next shows when the last labels are saved."]);
});
