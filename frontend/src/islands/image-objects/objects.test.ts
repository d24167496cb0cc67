import { expect, it } from "vitest";
import { countsBy, isShown, nextShown, ObjectFinder, outlinePaths } from "./objects";

const square = (x: number, y: number) => Float64Array.of(x, y, x + 10, y, x + 10, y + 10, x, y + 10);
const objects = {
  firstOrdinal: 40,
  outlines: [square(0, 0), square(20, 0), square(40, 0), square(60, 0)],
  labels: Uint8Array.of(0, 2, 1, 2),
  predictions: Uint8Array.of(1, 2, 2, 0),
  confidences: Uint8Array.of(10, 20, 30, 40),
};

it("finds the object under the pointer, and none between them", () => {
  const finder = new ObjectFinder(objects.outlines);
  expect(finder.at(5, 5)).toBe(0);
  expect(finder.at(45, 9)).toBe(2);
  expect(finder.at(15, 5)).toBeNull();
  expect(finder.at(5, 15)).toBeNull();
});

it("draws the outlines of a class as one path, those without one below", () => {
  const paths = outlinePaths(objects, "label");
  expect([...paths.keys()]).toEqual([0, 1, 2]);
  expect(paths.get(2)).toBe("M20 0 30 0 30 10 20 10ZM60 0 70 0 70 10 60 10Z");
  expect([...outlinePaths(objects, "prediction").keys()]).toEqual([0, 1, 2]);
});

it("shows as different only what has a label and a prediction, and not the same", () => {
  expect([0, 1, 2, 3].filter((i) => isShown(objects, "difference", i))).toEqual([2]);
  expect([...countsBy(objects, "difference")]).toEqual([[1, 1]]);
});

it("counts the classes, and last what has none", () => {
  expect([...countsBy(objects, "label")]).toEqual([
    [1, 1],
    [2, 2],
    [0, 1],
  ]);
});

it("goes from one difference to the next, and round", () => {
  const labels = Uint8Array.of(2, 2, 1, 2);
  const two = { ...objects, labels };
  expect(nextShown(two, "difference", -1)).toBe(0);
  expect(nextShown(two, "difference", 0)).toBe(2);
  expect(nextShown(two, "difference", 2)).toBe(0);
  expect(nextShown({ ...two, labels: two.predictions }, "difference", -1)).toBeNull();
  expect(new ObjectFinder(two.outlines).middleOf(2)).toEqual({ x: 45, y: 5 });
});
