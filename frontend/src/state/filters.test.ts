import { expect, it } from "vitest";
import { type FilterMode, hiddenByFilters } from "./filters";

const input = {
  labels: Uint8Array.of(0, 1, 2, 0, 1),
  unseen: Uint8Array.of(0, 0, 1, 0, 0),
  predictions: Uint8Array.of(1, 1, 1, 0, 0),
  confidences: Uint8Array.of(250, 100, 200, 0, 0),
};

function visible(mode: FilterMode, classes: number[] = [], minConfidence = 0): number[] {
  const hidden = hiddenByFilters({ mode, classes: new Set(classes), minConfidence }, input, new Uint8Array(5));
  return Array.from(hidden.keys()).filter((i) => hidden[i] === 0);
}

it("filters by what is labeled", () => {
  expect(visible("all")).toEqual([0, 1, 2, 3, 4]);
  expect(visible("unlabeled")).toEqual([0, 3]);
  expect(visible("labeled")).toEqual([1, 2, 4]);
});

it("leaves out what was accepted by sample, or shows nothing else", () => {
  expect(visible("seen")).toEqual([0, 1, 3, 4]);
  expect(visible("sampled")).toEqual([2]);
});

it("discordant needs both a label and a prediction", () => {
  expect(visible("discordant")).toEqual([2]);
});

it("an object's class is its label, or its prediction while it has none", () => {
  expect(visible("all", [1])).toEqual([0, 1, 4]);
  expect(visible("all", [2])).toEqual([2]);
  expect(visible("all", [1, 2])).toEqual([0, 1, 2, 4]);
});

it("a smallest confidence hides what has no prediction", () => {
  expect(visible("all", [], 150)).toEqual([0, 2]);
});
