import { expect, it } from "vitest";
import { describeQuality } from "./quality";

it("tells the balanced accuracy and on how many held-out labels it rests", () => {
  const words = describeQuality({ accuracy: 0.9, balanced_accuracy: 0.984, n_held_out: 1200 });
  expect(words.short).toBe("98%");
  expect(words.long).toContain("98%, on 1,200 held-out labels");
});

it("gives no percentage from fewer than ten held-out labels", () => {
  for (const n of [0, 1, 9]) {
    const words = describeQuality({ balanced_accuracy: n === 0 ? null : 1, n_held_out: n });
    expect(words.short).toBe("");
    expect(words.long).toContain("too few labels");
    expect(words.long).not.toContain("%");
  }
  expect(describeQuality({ balanced_accuracy: 1, n_held_out: 10 }).short).toBe("100%");
});

it("says nothing about a model that was never measured", () => {
  expect(describeQuality(null)).toEqual({ short: "", long: "" });
  expect(describeQuality({})).toEqual({ short: "", long: "" });
});
