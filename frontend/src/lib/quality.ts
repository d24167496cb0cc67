import type { ModelQuality } from "../api/types";
import { percent, plural } from "./format";

/** From fewer held-out labels a percentage says nothing. */
const FEWEST_HELD_OUT = 10;

/** A model's quality in words: a percentage where it means something, and what it rests on. */
export function describeQuality(quality: ModelQuality | null): { readonly short: string; readonly long: string } {
  const accuracy = quality?.balanced_accuracy ?? quality?.accuracy ?? null;
  const n = quality?.n_held_out;
  if (quality === null || (accuracy === null && n === undefined)) return { short: "", long: "" };
  if (accuracy === null || (n !== undefined && n < FEWEST_HELD_OUT)) {
    return { short: "", long: `Accuracy: too few labels (${plural(n ?? 0, "held-out label")})` };
  }
  const on = n === undefined ? "held-out labels" : plural(n, "held-out label");
  return { short: percent(accuracy), long: `Balanced accuracy ${percent(accuracy)}, on ${on}` };
}
