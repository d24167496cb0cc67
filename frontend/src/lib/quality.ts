import type { EmbeddingInfo, FewImages, PredictionsInfo, Quality, QualityAtLabels } from "../api/types";
import { capitalized, count, percent, plural } from "./format";

/** From fewer held-out labels a percentage says nothing. */
export const FEWEST_HELD_OUT = 10;
/** On fewer of a class its part of the balanced accuracy is a matter of luck. */
const FEWEST_OF_A_CLASS = 5;
/** Known less closely than this, an accuracy is given as a range. */
const CLOSELY = 0.1;

interface QualityInWords {
  readonly short: string;
  readonly long: string;
}

/** A model's quality in words: a percentage where it means something, and what it rests on. */
export function describeQuality(predictions: PredictionsInfo | null): QualityInWords {
  const words = describeMeasures(predictions);
  const fault = predictions?.classifier_fault ?? null;
  if (fault === null) return words;
  return { short: "classifier failed", long: `${standsIn(fault)}${words.long === "" ? "" : ` ${words.long}`}` };
}

function describeMeasures(predictions: PredictionsInfo | null): QualityInWords {
  if (predictions === null || predictions.n_labels === 0) return { short: "", long: "" };
  const {
    balanced_accuracy: accuracy,
    balanced_between: between,
    n_held_out: n,
    is_measured: isMeasured,
    expected_right: expected,
    few_images: fewImages,
  } = predictions;
  if (accuracy === null || between === null || n < FEWEST_HELD_OUT) {
    return { short: "", long: `Accuracy: too few labels (${plural(n, "held-out label")})` };
  }
  const [low, high] = between;
  const measured = `balanced accuracy ${percent(accuracy)}, ${percent(low)} to ${percent(high)} with 95% confidence, on ${plural(n, "held-out label")}`;
  if (!isMeasured) return { short: "", long: `${capitalized(measured)}: too few to say more` };
  if (fewImages !== null) {
    return { short: `labels in ${labelsIn(fewImages)}`, long: `${onlyThere(fewImages)} ${capitalized(measured)}` };
  }
  if (expected === null) {
    return {
      short: `${high - low > CLOSELY ? `${percent(low).replace("%", "")}–${percent(high)}` : percent(accuracy)} right per class`,
      long: capitalized(measured),
    };
  }
  // Of the rest, which is what there is to do: labels that confirmed a proposal are easier.
  return {
    short: `≈${percent(expected)} right`,
    long: `About ${percent(expected)} of what has no label is expected to be predicted rightly; ${measured}, which are easier where they confirmed a proposal`,
  };
}

/** Why the balanced accuracy may jump: the classes that it measures on a handful of labels. Empty where there are none. */
export function fewOfAClass({ classes, confusion }: Quality, nameOf: (value: number) => string): string {
  const held = confusion.map((row) => row.reduce((sum, n) => sum + n, 0));
  const few = classes.flatMap((value, k) =>
    held[k]! > 0 && held[k]! < FEWEST_OF_A_CLASS
      ? [`of “${nameOf(value)}” it rests on ${plural(held[k]!, "label")}`]
      : [],
  );
  const measured = held.filter((n) => n > 0).length;
  return few.length === 0 || measured < 2 ? "" : `Each class counts alike in the balanced accuracy; ${few.join(", ")}.`;
}

/** The measures that stand, by number of labels. What labels that were taken back since had done is not what so many labels do. */
export function standing(history: readonly QualityAtLabels[]): readonly QualityAtLabels[] {
  const left: QualityAtLabels[] = [];
  for (const then of history) {
    while (left.length > 0 && left.at(-1)!.n_labels >= then.n_labels) left.pop();
    left.push(then);
  }
  return left;
}

/** That the classifier which the project has chosen does not predict. */
export function standsIn(fault: string): string {
  return `The standard classifier predicts, as the project's own cannot: ${fault}.`;
}

/** Why it is not said how many are expected to be right. */
export function onlyThere(few: FewImages): string {
  return `Labels lie in ${labelsIn(few)}: in the others, far less may be predicted rightly. A few labels there help most; Next shows typical objects.`;
}

const labelsIn = ({ n_labeled: labeled, n }: FewImages) => `${count(labeled)} of ${plural(n, "image")}`;

/** What a map's own figures say in words. */
export function describeMap(
  embedding: Pick<EmbeddingInfo, "drawn_by" | "shows_labels" | "trustworthiness" | "displacement">,
): string {
  const { trustworthiness, displacement } = embedding;
  return [
    `Map drawn by ${embedding.drawn_by}`,
    trustworthiness === null ? "" : `trustworthiness ${trustworthiness.toFixed(2)}`,
    displacement === null ? "" : `the middle object moved by ${percent(displacement)} of its width`,
    embedding.shows_labels ? "drawn with the labels" : "",
  ]
    .filter((text) => text !== "")
    .join(", ");
}
