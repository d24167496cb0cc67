import { expect, it } from "vitest";
import { isOrdered, orderLocally } from "./order";

const predictions = Uint8Array.of(1, 2, 0, 1, 1);
const confidences = Uint8Array.of(100, 255, 9, 0, 100);
const ordinals = Uint32Array.of(4, 3, 2, 1, 0);
const order = (by: "confidence" | "uncertain" | "image") =>
  Array.from(orderLocally(ordinals, by, predictions, confidences));

it("by confidence: surest first, equal ones by image, those without a prediction last", () => {
  expect(order("confidence")).toEqual([1, 0, 4, 3, 2]);
});

it("most uncertain first, those without a prediction still last", () => {
  expect(order("uncertain")).toEqual([3, 0, 4, 1, 2]);
});

it("by image is by ordinal, and leaves the given array alone", () => {
  expect(order("image")).toEqual([0, 1, 2, 3, 4]);
  expect(Array.from(ordinals)).toEqual([4, 3, 2, 1, 0]);
});

it("knows whether objects stand as their confidences want it", () => {
  for (const by of ["confidence", "uncertain"] as const) {
    expect(isOrdered(Uint32Array.from(order(by)), by, predictions, confidences)).toBe(true);
  }
  expect(isOrdered(ordinals, "uncertain", predictions, confidences)).toBe(false);
});
