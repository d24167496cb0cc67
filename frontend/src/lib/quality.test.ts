import { expect, it } from "vitest";
import { confidenceInterval, describeMap, describeQuality } from "./quality";

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
  expect(measured(1, 10).short).toBe("~100%");
  expect(measured(1, 10).long).toContain("about 100%");
});

it("says between which shares the true one lies", () => {
  const [low, high] = confidenceInterval(0.9, 50); // the published interval of 45 of 50: 78.6 to 95.7 %
  expect(low).toBeCloseTo(0.786, 3);
  expect(high).toBeCloseTo(0.957, 3);
  expect(confidenceInterval(1, 12)[1]).toBe(1);
  expect(confidenceInterval(1, 12)[0]).toBeLessThan(0.76);
});

it("says nothing before anything is labeled", () => {
  expect(describeQuality(null)).toEqual({ short: "", long: "" });
  const unlabeled = { revision: 1, embedding: 1, n_labels: 0, balanced_accuracy: null, n_held_out: 0 };
  expect(describeQuality(unlabeled)).toEqual({ short: "", long: "" });
});

it("says of a map how far it can be trusted, how far it moved, and that labels shaped it", () => {
  const words = describeMap({ shows_labels: true, trustworthiness: 0.983, displacement: 0.021 });
  expect(words).toBe(
    "Trustworthiness of the map 0.98, the middle object moved by 2% of its width, drawn with the labels",
  );
  expect(describeMap({ shows_labels: false, trustworthiness: null, displacement: null })).toBe("");
});
