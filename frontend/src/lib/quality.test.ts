import { expect, it } from "vitest";
import type { FewImages, Quality, QualityAtLabels } from "../api/types";
import { describeMap, describeQuality, fewOfAClass, standing } from "./quality";

const measured = (
  balanced_accuracy: number | null,
  between: readonly [number, number] | null,
  n_held_out: number,
  expected_right: number | null = null,
  few_images: FewImages | null = null,
  classifier_fault: string | null = null,
) =>
  describeQuality({
    revision: 1,
    embedding: 1,
    label_revision: 1,
    n_labels: 5 * n_held_out + 1,
    balanced_accuracy,
    balanced_between: between,
    n_held_out,
    is_measured: n_held_out >= 40,
    expected_right,
    few_images,
    classifier_fault,
  });

it("says first what is expected of the objects without a label, as the labels may be the easy ones", () => {
  const words = measured(0.96, [0.89, 0.98], 107, 0.72);
  expect(words.short).toBe("≈72% right");
  expect(words.long).toBe(
    "About 72% of what has no label is expected to be predicted rightly; balanced accuracy 96%, 89% to 98% with 95% " +
      "confidence, on 107 held-out labels, which are easier where they confirmed a proposal",
  );
});

it("tells the balanced accuracy and on how many held-out labels it rests", () => {
  const words = measured(0.984, [0.965, 0.99], 1200);
  expect(words.short).toBe("98% right per class");
  expect(words.long).toContain("98%, 97% to 99% with 95% confidence, on 1,200 held-out labels");
});

it("says that the project's own classifier does not predict before anything that the other one's predictions are worth", () => {
  const words = measured(0.96, [0.89, 0.98], 107, 0.72, null, "the classifier nearest failed: ValueError: no");
  expect(words.short).toBe("classifier failed");
  expect(words.long).toMatch(
    /^The standard classifier predicts, as the project's own cannot: the classifier nearest failed: ValueError: no\. About 72%/,
  );
});

it("says that labels lie in few images instead of a share that holds only there", () => {
  const words = measured(0.96, [0.89, 0.98], 107, null, { n_labeled: 3, n: 27 });
  expect(words.short).toBe("labels in 3 of 27 images");
  expect(words.long).toBe(
    "Labels lie in 3 of 27 images: in the others, far less may be predicted rightly. A few labels there help most; Next shows " +
      "typical objects. Balanced accuracy 96%, 89% to 98% with 95% confidence, on 107 held-out labels",
  );
});

it("gives no percentage from fewer than ten held-out labels", () => {
  for (const n of [0, 1, 9]) {
    const words = n === 0 ? measured(null, null, 0) : measured(1, [0.3, 1], n);
    expect(words.short).toBe("");
    expect(words.long).toContain("too few labels");
    expect(words.long).not.toContain("%");
  }
});

it("gives a range where the labels leave much open, and none of it on the screen while they are few", () => {
  expect(measured(0.8, [0.62, 0.91], 41).short).toBe("62–91% right per class");
  const few = measured(0.6, [0.31, 0.83], 12);
  expect(few.short).toBe("");
  expect(few.long).toContain("31% to 83% with 95% confidence, on 12 held-out labels: too few to say more");
});

it("says nothing before anything is labeled", () => {
  expect(describeQuality(null)).toEqual({ short: "", long: "" });
  const unlabeled = {
    revision: 1,
    embedding: 1,
    label_revision: 0,
    n_labels: 0,
    balanced_accuracy: null,
    balanced_between: null,
    n_held_out: 0,
    is_measured: false,
    expected_right: null,
    few_images: null,
    classifier_fault: null,
  };
  expect(describeQuality(unlabeled)).toEqual({ short: "", long: "" });
});

it("says of a map what drew it, how far it can be trusted, how far it moved, and that labels shaped it", () => {
  const words = describeMap({
    drawn_by: "UMAP",
    shows_labels: true,
    trustworthiness: 0.983,
    displacement: 0.021,
  });
  expect(words).toBe(
    "Map drawn by UMAP, trustworthiness 0.98, the middle object moved by 2% of its width, drawn with the labels",
  );
  const few = { drawn_by: "Principal components", shows_labels: false, trustworthiness: null, displacement: null };
  expect(describeMap(few)).toBe("Map drawn by Principal components");
});

it("says which classes the balanced accuracy rests on a handful of labels for", () => {
  const few = (confusion: number[][]) =>
    fewOfAClass({ classes: [1, 2, 3], confusion } as unknown as Quality, (value) => ["", "a", "b", "c"][value]!);
  const often = [20, 1, 0];
  expect(few([often, often, [0, 1, 0]])).toBe(
    "Each class counts alike in the balanced accuracy; of “c” it rests on 1 label.",
  );
  expect(few([often, [0, 3, 1], [0, 0, 0]])).toBe(
    "Each class counts alike in the balanced accuracy; of “b” it rests on 4 labels.",
  );
  expect(few([often, often, often])).toBe("");
  expect(
    few([
      [3, 0, 0],
      [0, 0, 0],
      [0, 0, 0],
    ]),
  ).toBe("");
});

it("draws what so many labels do, and not what had been done by those that were taken back", () => {
  const at = (n_labels: number, balanced_accuracy: number): QualityAtLabels => ({
    revision: 1,
    n_labels,
    accuracy: null,
    balanced_accuracy,
    n_held_out: 50,
  });
  // labeled wrongly, all taken back, and labeled again
  const history = [at(100, 0.7), at(200, 0.4), at(300, 0.3), at(150, 0.5), at(100, 0.7), at(180, 0.8), at(260, 0.9)];
  expect(standing(history).map((then) => then.balanced_accuracy)).toEqual([0.7, 0.8, 0.9]);
});
