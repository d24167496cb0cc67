import { beforeEach, expect, it } from "vitest";
import { LabelsStore } from "./labels";

let labels: LabelsStore;
const shown = () => Array.from(labels.shown);

beforeEach(() => {
  labels = new LabelsStore();
  labels.load({ classes: Uint8Array.of(0, 1, 2, 0), unseen: Uint8Array.of(0, 0, 1, 0), revision: 5 }, 4);
});

it("shows a proposed change at once and takes a refused one back", () => {
  const change = labels.propose(Uint32Array.of(0, 1), 3);
  expect(shown()).toEqual([3, 3, 2, 0]);
  labels.reject(change);
  expect(shown()).toEqual([0, 1, 2, 0]);
});

it("a refused change does not take a later one on the same object with it", () => {
  const first = labels.propose(Uint32Array.of(0, 1), 3);
  labels.propose(Uint32Array.of(1), 4);
  labels.reject(first);
  expect(shown()).toEqual([0, 4, 2, 0]);
});

it("what others do stays below one's own unsaved change, and shows when that is refused", () => {
  const own = labels.propose(Uint32Array.of(1), 3);
  labels.apply({ ordinals: Uint32Array.of(1, 3), classes: Uint8Array.of(2, 2), unseen: Uint8Array.of(0, 0) }, 6);
  expect(shown()).toEqual([0, 3, 2, 2]);
  expect(labels.revision).toBe(6);
  labels.reject(own);
  expect(shown()).toEqual([0, 2, 2, 2]);
});

it("a confirmed change survives the refusal of an earlier one", () => {
  const first = labels.propose(Uint32Array.of(2), 1);
  const second = labels.propose(Uint32Array.of(2), 4);
  labels.confirm(second);
  labels.reject(first);
  expect(shown()).toEqual([0, 1, 4, 0]);
});

it("loading again keeps what is not saved yet", () => {
  labels.propose(Uint32Array.of(0), 3);
  labels.load({ classes: Uint8Array.of(1, 1, 1, 1), unseen: new Uint8Array(4), revision: 9 }, 6);
  expect(shown()).toEqual([3, 1, 1, 1, 0, 0]);
});

it("counts by class, 0 for the unlabeled", () => {
  labels.propose(Uint32Array.of(3), 2);
  const counts = labels.counts();
  expect([counts[0], counts[1], counts[2]]).toEqual([1, 1, 2]);
});

it("what was accepted by sample is unseen until somebody labels it by hand", () => {
  expect(Array.from(labels.unseen)).toEqual([0, 0, 1, 0]);
  const confirmed = labels.propose(Uint32Array.of(2), 2);
  expect(Array.from(labels.unseen)).toEqual([0, 0, 0, 0]);
  labels.reject(confirmed);
  expect(labels.unseenCounts()[2]).toBe(1);
  labels.confirm(labels.propose(Uint32Array.of(2), 2));
  expect(labels.unseenCounts()[2]).toBe(0);
  labels.apply({ ordinals: Uint32Array.of(0), classes: Uint8Array.of(1), unseen: Uint8Array.of(1) }, 7);
  expect(Array.from(labels.unseen)).toEqual([1, 0, 0, 0]);
});
