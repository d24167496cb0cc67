/** Plane geometry for the plot and the grid. Points are [x, y]. */

export type Point = readonly [number, number];
export type Polygon = readonly Point[];

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

export function rectFrom(a: Point, b: Point): Rect {
  return {
    x: Math.min(a[0], b[0]),
    y: Math.min(a[1], b[1]),
    width: Math.abs(a[0] - b[0]),
    height: Math.abs(a[1] - b[1]),
  };
}

/** Non-zero winding: a lasso that crosses itself has no holes, which is what a hand means. */
export function windingContains(polygon: Float64Array, x: number, y: number): boolean {
  let winding = 0;
  const length = polygon.length;
  let x1 = polygon[length - 2]!;
  let y1 = polygon[length - 1]!;
  for (let i = 0; i < length; i += 2) {
    const x2 = polygon[i]!;
    const y2 = polygon[i + 1]!;
    if (y1 <= y) {
      if (y2 > y && (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1) > 0) winding++;
    } else if (y2 <= y && (x2 - x1) * (y - y1) - (x - x1) * (y2 - y1) < 0) {
      winding--;
    }
    x1 = x2;
    y1 = y2;
  }
  return winding !== 0;
}

function distanceToSegment(p: Point, a: Point, b: Point): number {
  const dx = b[0] - a[0];
  const dy = b[1] - a[1];
  const squared = dx * dx + dy * dy;
  const t = squared === 0 ? 0 : clamp(((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / squared, 0, 1);
  return Math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy);
}

/** Ramer, Douglas and Peucker (1972): drops the points of a path that lie within `tolerance` of the rest. */
export function simplify(points: Polygon, tolerance: number): Point[] {
  if (points.length < 3) return [...points];
  const keep = new Uint8Array(points.length);
  keep[0] = 1;
  keep[points.length - 1] = 1;
  const open: [number, number][] = [[0, points.length - 1]];
  while (open.length > 0) {
    const [first, last] = open.pop()!;
    let farthest = -1;
    let distance = tolerance;
    for (let i = first + 1; i < last; i++) {
      const d = distanceToSegment(points[i]!, points[first]!, points[last]!);
      if (d > distance) {
        farthest = i;
        distance = d;
      }
    }
    if (farthest > 0) {
      keep[farthest] = 1;
      open.push([first, farthest], [farthest, last]);
    }
  }
  return points.filter((_, i) => keep[i] === 1);
}
