import type { EmbeddingInfo, PredictionsInfo } from "../api/types";
import { percent, plural } from "./format";

/** From fewer held-out labels a percentage says nothing. */
export const FEWEST_HELD_OUT = 10;
/** From fewer, it may well be ten points off, and is marked as rough. */
const MANY_HELD_OUT = 100;

/** A model's quality in words: a percentage where it means something, and what it rests on. */
export function describeQuality(predictions: PredictionsInfo | null): {
  readonly short: string;
  readonly long: string;
} {
  if (predictions === null || predictions.n_labels === 0) return { short: "", long: "" };
  const { balanced_accuracy: accuracy, n_held_out: n } = predictions;
  if (accuracy === null || n < FEWEST_HELD_OUT) {
    return { short: "", long: `Accuracy: too few labels (${plural(n, "held-out label")})` };
  }
  return {
    short: `${n < MANY_HELD_OUT ? "~" : ""}${percent(accuracy)}`,
    long: `Balanced accuracy ${n < MANY_HELD_OUT ? "about " : ""}${percent(accuracy)}, on ${plural(n, "held-out label")}`,
  };
}

/** Between which shares the true one lies at 95 %, of which `share` of `n` was counted (Wilson 1927). */
export function confidenceInterval(share: number, n: number): readonly [number, number] {
  const z = 1.96;
  const middle = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

/** What a map's own figures say in words. */
export function describeMap(
  embedding: Pick<EmbeddingInfo, "shows_labels" | "trustworthiness" | "displacement">,
): string {
  const { trustworthiness, displacement } = embedding;
  return [
    trustworthiness === null ? "" : `Trustworthiness of the map ${trustworthiness.toFixed(2)}`,
    displacement === null ? "" : `the middle object moved by ${percent(displacement)} of its width`,
    embedding.shows_labels ? "drawn with the labels" : "",
  ]
    .filter((text) => text !== "")
    .join(", ");
}
