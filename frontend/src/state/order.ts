/** Orders that the browser can make by itself; similarity comes from the server, which has the vectors. */

export type GridOrder = "similarity" | "confidence" | "uncertain" | "image";
/** "given": the order a region came in, nearest or surest first, until the user chooses another. */
export type UsedOrder = GridOrder | "given";
export const GRID_ORDERS: readonly GridOrder[] = ["similarity", "confidence", "uncertain", "image"];

/** Above this many objects, similarity is not asked for: its order costs the square of the number. */
export const SIMILARITY_LIMIT = 20_000;

/** Objects of one image have neighboring ordinals, so ascending ordinals are the order by image.
 *
 * By confidence is a stable counting sort: linear, also for a million objects. Objects without a prediction come last.
 */
export function orderLocally(
  ordinals: Uint32Array,
  order: Exclude<GridOrder, "similarity">,
  predictions: Uint8Array,
  confidences: Uint8Array,
): Uint32Array {
  const byOrdinal = ordinals.slice().sort();
  if (order === "image") return byOrdinal;
  const bucketOf = bucketing(order, predictions, confidences);
  const starts = new Uint32Array(258);
  for (const ordinal of byOrdinal) starts[bucketOf(ordinal) + 1]!++;
  for (let b = 0; b < 257; b++) starts[b + 1]! += starts[b]!;
  const sorted = new Uint32Array(byOrdinal.length);
  for (const ordinal of byOrdinal) sorted[starts[bucketOf(ordinal)]!++] = ordinal;
  return sorted;
}

/** Whether objects already stand as their confidences want it. */
export function isOrdered(
  ordinals: Uint32Array,
  order: "confidence" | "uncertain",
  predictions: Uint8Array,
  confidences: Uint8Array,
): boolean {
  const bucketOf = bucketing(order, predictions, confidences);
  return ordinals.every((ordinal, i) => i === 0 || bucketOf(ordinals[i - 1]!) <= bucketOf(ordinal));
}

/** 0 to 255 by confidence, 256 for what has no prediction. */
function bucketing(
  order: "confidence" | "uncertain",
  predictions: Uint8Array,
  confidences: Uint8Array,
): (ordinal: number) => number {
  return (ordinal) => {
    if ((predictions[ordinal] ?? 0) === 0) return 256;
    const confidence = confidences[ordinal]!;
    return order === "confidence" ? 255 - confidence : confidence;
  };
}
