import { expect, it } from "vitest";
import { Run } from "./run";

it("goes forward with each label, back with each undo, and no further than its ends", () => {
  const run = new Run([7, 3, 9], 40);
  expect([run.ordinal, run.nDone, run.hasPrevious]).toEqual([7, 40, false]);
  run.back();
  expect(run.ordinal).toBe(7);
  run.forward();
  expect([run.ordinal, run.nDone, run.next(5)]).toEqual([3, 41, [9]]);
  run.back();
  expect(run.ordinal).toBe(7);
  for (let n = 0; n < 5; n++) run.forward();
  expect([run.ordinal, run.nDone, run.next(5)]).toEqual([null, 43, []]);
});

it("returns to what was not saved", () => {
  const run = new Run([7, 3, 9], 0);
  run.forward();
  run.forward();
  run.returnTo(7);
  expect([run.ordinal, run.nDone]).toEqual([7, 0]);
});
