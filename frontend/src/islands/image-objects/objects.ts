import { windingContains } from "../../lib/geometry";
import type { ImageObjectsBuffer } from "../../lib/wire";

/** What the outlines' colors say; `difference` shows only objects whose label is not what is predicted. */
export type ColorBy = "label" | "prediction" | "difference";

export function isShown(objects: ImageObjectsBuffer, by: ColorBy, i: number): boolean {
  const [label, predicted] = [objects.labels[i]!, objects.predictions[i]!];
  return by !== "difference" || (label !== 0 && predicted !== 0 && label !== predicted);
}

const shownClass = (objects: ImageObjectsBuffer, by: ColorBy, i: number): number =>
  (by === "prediction" ? objects.predictions : objects.labels)[i]!;

/** How many objects that are shown have each class value; 0, none, is the last. */
export function countsBy(objects: ImageObjectsBuffer, by: ColorBy): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = 0; i < objects.outlines.length; i++) {
    if (!isShown(objects, by, i)) continue;
    const value = shownClass(objects, by, i);
    counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  return new Map([...counts].sort(([a], [b]) => (a || 256) - (b || 256)));
}

/** The next object that is shown after one's place, from the start again after the last; null where none is. */
export function nextShown(objects: ImageObjectsBuffer, by: ColorBy, after: number): number | null {
  const n = objects.outlines.length;
  for (let step = 1; step <= n; step++) {
    const place = (after + step) % n;
    if (objects.outlines[place]!.length > 0 && isShown(objects, by, place)) return place;
  }
  return null;
}

/** SVG path data of one outline. */
export const pathOf = (outline: Float64Array): string => `M${outline.join(" ")}Z`;

/** SVG path data of the outlines that are shown by class value; 0, none, is the first: the others are drawn over it. */
export function outlinePaths(objects: ImageObjectsBuffer, by: ColorBy): Map<number, string> {
  const parts = new Map<number, string[]>();
  objects.outlines.forEach((outline, i) => {
    if (outline.length === 0 || !isShown(objects, by, i)) return;
    const value = shownClass(objects, by, i);
    const own = parts.get(value) ?? [];
    own.push(pathOf(outline));
    parts.set(value, own);
  });
  return new Map([...parts].sort(([a], [b]) => a - b).map(([value, own]) => [value, own.join("")]));
}

/** Which object lies at a place of the image. */
export class ObjectFinder {
  /** (4n) left, top, right, bottom. */
  private readonly boxes: Float64Array;

  constructor(private readonly outlines: readonly Float64Array[]) {
    this.boxes = new Float64Array(4 * outlines.length);
    outlines.forEach((outline, i) => {
      const box = this.boxes.subarray(4 * i, 4 * i + 4);
      box.set([Infinity, Infinity, -Infinity, -Infinity]);
      for (let j = 0; j < outline.length; j += 2) {
        box[0] = Math.min(box[0]!, outline[j]!);
        box[1] = Math.min(box[1]!, outline[j + 1]!);
        box[2] = Math.max(box[2]!, outline[j]!);
        box[3] = Math.max(box[3]!, outline[j + 1]!);
      }
    });
  }

  /** The middle of an object's box, in pixels of the image. */
  middleOf(place: number): { readonly x: number; readonly y: number } {
    const [left, top, right, bottom] = this.boxes.subarray(4 * place, 4 * place + 4);
    return { x: (left! + right!) / 2, y: (top! + bottom!) / 2 };
  }

  /** Its place in the image's objects; null where there is none. */
  at(x: number, y: number): number | null {
    const { boxes } = this;
    for (let i = 0, b = 0; b < boxes.length; i++, b += 4) {
      const isInBox = x >= boxes[b]! && y >= boxes[b + 1]! && x <= boxes[b + 2]! && y <= boxes[b + 3]!;
      if (isInBox && windingContains(this.outlines[i]!, x, y)) return i;
    }
    return null;
  }
}
