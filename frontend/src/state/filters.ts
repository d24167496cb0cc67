import { Emitter } from "./emitter";

export type FilterMode = "all" | "unlabeled" | "labeled" | "discordant" | "seen" | "sampled";
export const FILTER_MODES: readonly FilterMode[] = ["all", "unlabeled", "labeled", "discordant", "seen", "sampled"];
/** About labels that were accepted by sample: offered where there are any. */
export const SAMPLED_MODES: readonly FilterMode[] = ["seen", "sampled"];

export type ColorMode = "prediction" | "label" | "discordance" | "confidence" | "group" | "image";
export const COLOR_MODES: readonly ColorMode[] = ["prediction", "label", "discordance", "confidence", "group", "image"];

/** What the map shows. A lasso holds all that lies in it; of that, the grid shows what passes. */
export class FilterStore extends Emitter<"filters" | "colors"> {
  mode: FilterMode = "all";
  /** Classes to show; empty = all. An object's class here is its label, or its prediction while it has no label. */
  classes: ReadonlySet<number> = new Set();
  /** 0..255: predictions less sure than this are hidden. */
  minConfidence = 0;
  color: ColorMode = "prediction";

  get active(): boolean {
    return this.mode !== "all" || this.classes.size > 0 || this.minConfidence > 0;
  }

  setMode(mode: FilterMode): void {
    this.mode = mode;
    this.emit("filters");
  }

  toggleClass(value: number): void {
    const next = new Set(this.classes);
    if (!next.delete(value)) next.add(value);
    this.classes = next;
    this.emit("filters");
  }

  setMinConfidence(value: number): void {
    this.minConfidence = value;
    this.emit("filters");
  }

  reset(): void {
    this.mode = "all";
    this.classes = new Set();
    this.minConfidence = 0;
    this.emit("filters");
  }

  setColor(color: ColorMode): void {
    this.color = color;
    this.emit("colors");
  }
}

export interface FilterInput {
  readonly labels: Uint8Array;
  /** 1 = accepted by sample. */
  readonly unseen: Uint8Array;
  readonly predictions: Uint8Array;
  readonly confidences: Uint8Array;
}

/** (labels.length) 1 = hidden by the filters. Objects without a place on the map count as without prediction. */
export function hiddenByFilters(
  filters: Pick<FilterStore, "mode" | "classes" | "minConfidence">,
  { labels, unseen, predictions, confidences }: FilterInput,
  into: Uint8Array,
): Uint8Array {
  const allowed = new Uint8Array(256);
  if (filters.classes.size === 0) allowed.fill(1);
  for (const value of filters.classes) allowed[value] = 1;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i]!;
    const prediction = predictions[i] ?? 0;
    let visible = allowed[label === 0 ? prediction : label] === 1;
    if (filters.mode === "unlabeled") visible &&= label === 0;
    else if (filters.mode === "labeled") visible &&= label !== 0;
    else if (filters.mode === "discordant") visible &&= label !== 0 && prediction !== 0 && label !== prediction;
    else if (filters.mode === "seen") visible &&= unseen[i] === 0;
    else if (filters.mode === "sampled") visible &&= unseen[i] === 1;
    if (filters.minConfidence > 0) visible &&= prediction !== 0 && confidences[i]! >= filters.minConfidence;
    into[i] = visible ? 0 : 1;
  }
  return into;
}
