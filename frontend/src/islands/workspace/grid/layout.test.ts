import { describe, expect, it } from "vitest";
import {
  cellAt,
  framePx,
  indexAt,
  indicesIn,
  isInView,
  largestOffset,
  layoutGrid,
  nearestTo,
  offsetToBegin,
  offsetToShow,
  visibleRange,
} from "./layout";

const layout = layoutGrid(1000, 64, 700, 500);

it("every tile is found at its own middle, and none in the gap beside it", () => {
  for (const index of [0, 1, layout.columns - 1, layout.columns, 517, 999]) {
    const { x, y, size } = cellAt(layout, index);
    expect(indexAt(layout, x + size / 2, y + size / 2)).toBe(index);
    expect(indexAt(layout, x + size / 2, y + size + 3)).toBe(-1);
  }
});

it("of some tiles the nearest to a place is found, wherever the rectangle went", () => {
  const { x, y, size } = cellAt(layout, 12);
  const below = [x + size / 2, y + size + 2] as const;
  expect(nearestTo(layout, [1, 2, 11, 12], below)).toBe(12);
  expect(nearestTo(layout, [], below)).toBe(-1);
});

it("the columns fill the width and stay inside it", () => {
  const { x, size } = cellAt(layout, layout.columns - 1);
  expect(x + size).toBeLessThanOrEqual(700);
  expect(700 - (x + size)).toBeLessThan(layout.pitch);
});

describe("what is visible", () => {
  it("is a screenful, whole rows, at any offset", () => {
    for (const offset of [0, 33, 4000, largestOffset(layout)]) {
      const [first, last] = visibleRange(layout, offset);
      expect(first % layout.columns).toBe(0);
      expect(cellAt(layout, first).y + layout.pitch).toBeGreaterThanOrEqual(offset);
      expect(last - first).toBeLessThanOrEqual(layout.columns * (Math.ceil(500 / layout.pitch) + 1));
    }
    expect(visibleRange(layout, largestOffset(layout))[1]).toBe(1000);
  });

  it("is nothing when there is nothing", () => {
    expect(visibleRange(layoutGrid(0, 64, 700, 500), 0)).toEqual([0, 0]);
    expect(largestOffset(layoutGrid(3, 64, 700, 500))).toBe(0);
  });
});

it("a rectangle takes the tiles that it touches", () => {
  const a = cellAt(layout, 1);
  const b = cellAt(layout, layout.columns + 2);
  const rect = {
    x: a.x + a.size - 1,
    y: a.y + a.size - 1,
    width: b.x - a.x - a.size + 2,
    height: b.y - a.y - a.size + 2,
  };
  expect(indicesIn(layout, rect)).toEqual([1, 2, layout.columns + 1, layout.columns + 2]);
  expect(indicesIn(layout, { x: a.x + a.size + 1, y: a.y + a.size + 1, width: 2, height: 2 })).toEqual([]);
});

it("scrolls no further than needed to show a tile", () => {
  expect(offsetToShow(layout, 0, 300)).toBe(0);
  expect(offsetToShow(layout, 0, 0)).toBe(0);
  const offset = offsetToShow(layout, 999, 0);
  expect(offset).toBe(largestOffset(layout));
  expect(offsetToShow(layout, 999, offset)).toBe(offset);
});

it("holds a million tiles of the largest size", () => {
  const huge = layoutGrid(1_000_000, 128, 400, 800);
  expect(visibleRange(huge, largestOffset(huge))[1]).toBe(1_000_000);
});

it("frames leave most of the cell to the patch, at every size", () => {
  for (const tilePx of [32, 48, 64, 96, 128]) {
    const { size } = cellAt(layoutGrid(10, tilePx, 700, 500), 0);
    expect(size).toBe(tilePx + 4 * framePx(tilePx));
    expect(tilePx / size).toBeGreaterThanOrEqual(0.8);
  }
});

it("what begins a screen is seen whole, and a row that is cut off is not seen", () => {
  const offset = offsetToBegin(layout, 5 * layout.columns);
  const [first, last] = visibleRange(layout, offset);
  const seen = Array.from({ length: last - first }, (_, i) => first + i).filter((i) => isInView(layout, i, offset));
  expect(seen[0]).toBe(5 * layout.columns);
  const rowsInView = (layout.viewHeight - cellAt(layout, 0).y) / layout.pitch;
  expect(seen.length).toBe(Math.floor(rowsInView + 0.1) * layout.columns);
  expect(rowsInView % 1).toBeGreaterThan(0.1);
  expect(offsetToBegin(layout, 999)).toBe(largestOffset(layout));
});
