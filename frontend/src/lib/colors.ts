/** Colors of classes, and the lookup tables that turn one byte per point into a color. */

export type Rgb = readonly [number, number, number];

/** For images, which are no classes: none of the colors that new classes get. */
export const IMAGE_PALETTE: readonly string[] = [
  "#EE3377",
  "#7A6FE0",
  "#2AA9B8",
  "#B8B530",
  "#A8674A",
  "#8FCB6B",
  "#C77DDB",
  "#4477AA",
  "#F2A7A0",
  "#5E7F3C",
  "#7FD6D0",
  "#B01E4A",
];

/** viridis (van der Walt and Smith, 2015) at nine places: even to the eye, also without color vision. */
const VIRIDIS: readonly Rgb[] = [
  [68, 1, 84],
  [71, 44, 122],
  [59, 81, 139],
  [44, 113, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
];

export function parseColor(color: string): Rgb {
  const long = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(color.trim());
  if (long) return [parseInt(long[1]!, 16), parseInt(long[2]!, 16), parseInt(long[3]!, 16)];
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/i.exec(color.trim());
  if (short) return [parseInt(short[1]!, 16) * 17, parseInt(short[2]!, 16) * 17, parseInt(short[3]!, 16) * 17];
  return [128, 128, 128];
}

export const toCss = ([r, g, b]: Rgb): string => `rgb(${r} ${g} ${b})`;

/** Relative luminance of WCAG 2, 0..1. */
export function luminance([r, g, b]: Rgb): number {
  const linear = (v: number) => (v <= 10.31475 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

/** Whether black shows less on it than white. */
export const isDark = (color: Rgb): boolean => luminance(color) <= 0.19;

/** Black or white, whichever reads better on the color. */
export const textOn = (color: Rgb): string => (isDark(color) ? "#ffffff" : "#000000");

/** Contrast of WCAG 2, 1..21. */
export function contrast(a: Rgb, b: Rgb): number {
  const [high, low] = [Math.max(luminance(a), luminance(b)), Math.min(luminance(a), luminance(b))];
  return (high + 0.05) / (low + 0.05);
}

const VANISHES_BELOW = 1.7;
const RIM_STRENGTH = 0.6;

/** The hairline around a color that would vanish on its ground, or null where it shows by itself.
 * @param strength 0..1, how far it goes from the color to black or white */
export function outlineOn(color: Rgb, ground: Rgb, strength = 0.38): Rgb | null {
  if (contrast(color, ground) >= VANISHES_BELOW) return null;
  const ink = isDark(ground) ? 255 : 0;
  const mix = (k: 0 | 1 | 2) => Math.round(color[k] * (1 - strength) + ink * strength);
  return [mix(0), mix(1), mix(2)];
}

const GOLDEN_ANGLE = 137.508;
const LIGHTNESSES: readonly number[] = [0.5, 0.66, 0.4];

/** One of many colors for things without an order: neighbors in number differ in hue and lightness. */
export function distinct(k: number): Rgb {
  const hue = (k * GOLDEN_ANGLE) % 360;
  const lightness = LIGHTNESSES[k % LIGHTNESSES.length]!;
  const reach = 0.62 * Math.min(lightness, 1 - lightness);
  const channel = (n: number) => {
    const at = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - reach * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

export function viridis(t: number): Rgb {
  const at = Math.min(Math.max(t, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const f = at - low;
  const mix = (k: 0 | 1 | 2) => Math.round(VIRIDIS[low]![k] * (1 - f) + VIRIDIS[low + 1]![k] * f);
  return [mix(0), mix(1), mix(2)];
}

/** 256 RGBA entries, as the point layer wants them. */
export class Lut {
  readonly bytes = new Uint8Array(1024);

  set(index: number, [r, g, b]: Rgb, alpha = 255): this {
    this.bytes.set([r, g, b, alpha], index * 4);
    return this;
  }

  get(index: number): Rgb {
    return [this.bytes[index * 4]!, this.bytes[index * 4 + 1]!, this.bytes[index * 4 + 2]!];
  }

  /** Three rows of 256 RGBA entries: the colors, their hairlines on the ground (alpha 0 where none is needed), and the
   * rims of marked points, which differ from the color itself. */
  forPoints(ground: Rgb, mark: Rgb): Uint8Array {
    const rows = new Uint8Array(3 * 1024);
    rows.set(this.bytes);
    for (let i = 0; i < 256; i++) {
      const color = this.get(i);
      const outline = outlineOn(color, ground);
      rows.set(outline === null ? [0, 0, 0, 0] : [...outline, 255], 1024 + 4 * i);
      rows.set([...(outlineOn(color, mark, RIM_STRENGTH) ?? mark), 255], 2048 + 4 * i);
    }
    return rows;
  }
}
