import { expect, it } from "vitest";
import { GLANCE_MS, Glances } from "./glances";

it("counts a patch as seen once it has been in view for a moment", () => {
  const glances = new Glances();
  expect(glances.seenAmong([1, 2], 1000)).toEqual([]);
  expect(glances.seenAmong([1, 2, 3], 1000 + GLANCE_MS)).toEqual([1, 2]);
  expect(glances.seenAmong([1, 2, 3], 1000 + 2 * GLANCE_MS)).toEqual([1, 2, 3]);
});

it("does not count what was covered or scrolled away at once, however often it comes by", () => {
  const glances = new Glances();
  glances.seenAmong([1, 2, 3], 1000);
  expect(glances.seenAmong([1, 2], 1016)).toEqual([]);
  expect(glances.seenAmong([1, 2, 3], 1000 + GLANCE_MS)).toEqual([1, 2]);
});

it("does not take the place of other patches for theirs", () => {
  const glances = new Glances();
  glances.seenAmong([1, 2], 1000);
  glances.beginAnew();
  expect(glances.seenAmong([2, 3], 1000 + GLANCE_MS)).toEqual([]);
});
