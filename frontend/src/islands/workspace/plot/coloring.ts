import type { LabelClass } from "../../../api/types";
import { distinct, IMAGE_PALETTE, Lut, parseColor, type Rgb, viridis } from "../../../lib/colors";
import type { ColorMode } from "../../../state/filters";

export interface ColoringInput {
  readonly n: number;
  readonly labels: Uint8Array;
  readonly predictions: Uint8Array;
  readonly confidences: Uint8Array;
  readonly images: Uint32Array | null;
  readonly imageNames: ReadonlyMap<number, string>;
  /** Of similar objects, from 1; 0: in none. */
  readonly groups: Uint8Array | null;
}

export interface LegendEntry {
  /** Entry of the palette, and value of the color bytes. */
  readonly index: number;
  readonly name: string;
  readonly color: Rgb;
  /** The class that a click on the entry filters by. */
  readonly classValue: number | null;
}

export interface Coloring {
  /** (n) index into the palette. */
  readonly colors: Uint8Array;
  readonly palette: Lut;
  readonly legend: readonly LegendEntry[];
  /** Shown beside the title of the legend. */
  readonly note: string;
}

export interface ColoringTheme {
  readonly unknown: Rgb;
}

const AGREES: Rgb = [86, 140, 190];
const DIFFERS: Rgb = [230, 97, 0];
const UNKNOWN_ALPHA = 150;
/** With more points they are drawn too small for a rim, unless one zooms in. */
const RIMS_SHOW_BELOW = 3000;

/** What each point's color says in a mode. @param into a buffer of n bytes to reuse */
export function colorize(
  mode: ColorMode,
  input: ColoringInput,
  classes: readonly LabelClass[],
  theme: ColoringTheme,
  into: Uint8Array,
): Coloring {
  const palette = new Lut();
  const { n } = input;
  const rimNote = n < RIMS_SHOW_BELOW ? "A wide rim marks what is labeled" : "";
  switch (mode) {
    case "prediction":
    case "label": {
      const source = mode === "prediction" ? input.predictions : input.labels;
      into.set(source.subarray(0, n));
      for (let value = 0; value < 256; value++) palette.set(value, theme.unknown, UNKNOWN_ALPHA);
      const legend = classes.map((c): LegendEntry => {
        const color = parseColor(c.color);
        palette.set(c.value, color);
        return { index: c.value, name: c.name, color, classValue: c.value };
      });
      const none = mode === "prediction" ? "No prediction" : "Unlabeled";
      return {
        colors: into,
        palette,
        legend: [...legend, { index: 0, name: none, color: theme.unknown, classValue: null }],
        note: mode === "prediction" ? rimNote : "",
      };
    }
    case "discordance": {
      for (let i = 0; i < n; i++) {
        const label = input.labels[i]!;
        const prediction = input.predictions[i]!;
        into[i] = label === 0 ? 0 : prediction === 0 ? 3 : label === prediction ? 1 : 2;
      }
      const entry = (index: number, name: string, color: Rgb, alpha = 255): LegendEntry => {
        palette.set(index, color, alpha);
        return { index, name, color, classValue: null };
      };
      return {
        colors: into,
        palette,
        legend: [
          entry(2, "They differ", DIFFERS),
          entry(1, "They agree", AGREES),
          entry(3, "No prediction", [150, 120, 180]),
          entry(0, "Unlabeled", theme.unknown, UNKNOWN_ALPHA),
        ],
        note: "",
      };
    }
    case "confidence": {
      for (let i = 0; i < n; i++) into[i] = input.predictions[i] === 0 ? 0 : Math.max(1, input.confidences[i]!);
      palette.set(0, theme.unknown, UNKNOWN_ALPHA);
      for (let c = 1; c < 256; c++) palette.set(c, viridis(c / 255));
      return { colors: into, palette, legend: [], note: rimNote };
    }
    case "group": {
      into.fill(0, 0, n);
      if (input.groups !== null) into.set(input.groups.subarray(0, n));
      const nGroups = input.groups === null ? 0 : input.groups.reduce((most, group) => Math.max(most, group), 0);
      palette.set(0, theme.unknown, UNKNOWN_ALPHA);
      for (let group = 1; group <= nGroups; group++) palette.set(group, distinct(group));
      // So many have no names; what they are for is said instead.
      const note = nGroups === 0 ? "" : `${nGroups} groups of similar objects, not classes`;
      return { colors: into, palette, legend: [], note };
    }
    case "image": {
      palette.set(0, theme.unknown, UNKNOWN_ALPHA);
      IMAGE_PALETTE.forEach((color, k) => {
        palette.set(k + 1, parseColor(color));
      });
      const places = new Map<number, number>();
      if (input.images === null) {
        into.fill(0, 0, n);
      } else {
        for (let i = 0; i < n; i++) {
          const id = input.images[i]!;
          let place = places.get(id);
          if (place === undefined) {
            place = (places.size % IMAGE_PALETTE.length) + 1;
            places.set(id, place);
          }
          into[i] = place;
        }
      }
      // A color that stands for several images has no name.
      const repeats = places.size > IMAGE_PALETTE.length;
      const legend = Array.from(repeats ? [] : places, ([id, index]): LegendEntry => {
        const name = input.imageNames.get(id) ?? `Image ${id}`;
        return { index, name, color: palette.get(index), classValue: null };
      });
      return { colors: into, palette, legend, note: repeats ? `${places.size} images; colors repeat` : "" };
    }
    default:
      return mode satisfies never;
  }
}

/** Objects per palette entry that the filters show, and how many of them are in the region. */
export function countEntries(
  colors: Uint8Array,
  hidden: Uint8Array,
  region: Uint32Array | null,
): { readonly all: Uint32Array; readonly region: Uint32Array } {
  const all = new Uint32Array(256);
  const inRegion = new Uint32Array(256);
  for (let i = 0; i < colors.length; i++) if (hidden[i] === 0) all[colors[i]!]!++;
  if (region !== null) {
    for (const ordinal of region) {
      if (ordinal < colors.length && hidden[ordinal] === 0) inRegion[colors[ordinal]!]!++;
    }
  }
  return { all, region: inRegion };
}
