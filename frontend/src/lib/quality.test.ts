import { expect, it } from "vitest";
import { describeQuality } from "./quality";

const measured = (balanced_accuracy: number | null, n_held_out: number) =>
  describeQuality({ revision: 1, embedding: 1, n_labels: 5 * n_held_out + 1, balanced_accuracy, n_held_out });

it("tells the balanced accuracy and on how many held-out labels it rests", () => {
  const words = measured(0.984, 1200);
  expect(words.short).toBe("98%");
  expect(words.long).toContain("98%, on 1,200 held-out labels");
});

it("gives no percentage from fewer than ten held-out labels", () => {
  for (const n of [0, 1, 9]) {
    const words = measured(n === 0 ? null : 1, n);
    expect(words.short).toBe("");
    expect(words.long).toContain("too few labels");
    expect(words.long).not.toContain("%");
  }
  expect(measured(1, 10).short).toBe("100%");
});

it("says nothing before anything is labeled", () => {
  expect(describeQuality(null)).toEqual({ short: "", long: "" });
  const unlabeled = { revision: 1, embedding: 1, n_labels: 0, balanced_accuracy: null, n_held_out: 0 };
  expect(describeQuality(unlabeled)).toEqual({ short: "", long: "" });
});
