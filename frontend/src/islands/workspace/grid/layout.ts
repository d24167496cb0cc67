import { clamp, type Point, type Rect } from "../../../lib/geometry";

/** Where the tiles of the grid are. A cell is a patch with two frames around it, and a gap. */

/** Width of a frame that says something, inside or outside, and of one that says that there is nothing. */
export const framePx = (tilePx: number): number => (tilePx < 64 ? 2 : 3);
export const NO_FRAME_PX = 1;
export const GAP_PX = 6;
const MARGIN_PX = 10;
/** The sizes of tiles that one may choose, in pixels of the page. */
export const TILE_SIZES: readonly number[] = [32, 48, 64, 96, 128];
/** Browsers clip elements taller than about 33 million pixels: above this, the scrollbar stands for more than it shows. */
export const TALLEST_PX = 12_000_000;

export interface GridLayout {
  readonly n: number;
  readonly tilePx: number;
  readonly columns: number;
  readonly rows: number;
  /** From one row to the next. */
  readonly pitch: number;
  /** From one column to the next: what a row leaves over is spread between its cells. */
  readonly columnPitch: number;
  readonly left: number;
  readonly contentHeight: number;
  readonly viewHeight: number;
}

export function layoutGrid(n: number, tilePx: number, width: number, viewHeight: number): GridLayout {
  const pitch = tilePx + 4 * framePx(tilePx) + GAP_PX;
  const columns = Math.max(1, Math.floor((width - 2 * MARGIN_PX + GAP_PX) / pitch));
  const rows = Math.ceil(n / columns);
  const spread = columns < 3 ? pitch : (width - 2 * MARGIN_PX + GAP_PX) / columns;
  return {
    n,
    tilePx,
    columns,
    rows,
    pitch,
    columnPitch: Math.max(pitch, Math.floor(spread)),
    left: MARGIN_PX,
    contentHeight: rows === 0 ? 0 : rows * pitch - GAP_PX + 2 * MARGIN_PX,
    viewHeight,
  };
}

export const largestOffset = (layout: GridLayout): number => Math.max(0, layout.contentHeight - layout.viewHeight);

/** The first and one past the last index whose cell touches the view at a scroll offset. */
export function visibleRange(layout: GridLayout, offset: number): readonly [number, number] {
  const first = Math.max(0, Math.floor((offset - MARGIN_PX) / layout.pitch));
  const last = Math.min(layout.rows, Math.ceil((offset + layout.viewHeight - MARGIN_PX) / layout.pitch));
  return [Math.min(layout.n, first * layout.columns), Math.min(layout.n, Math.max(first, last) * layout.columns)];
}

/** The outside of a cell's frames, in content coordinates. */
export function cellAt(
  layout: GridLayout,
  index: number,
): { readonly x: number; readonly y: number; readonly size: number } {
  const row = Math.floor(index / layout.columns);
  const column = index - row * layout.columns;
  return {
    x: layout.left + column * layout.columnPitch,
    y: MARGIN_PX + row * layout.pitch,
    size: layout.pitch - GAP_PX,
  };
}

/** The index under a place in the content, or -1 in the gaps. */
export function indexAt(layout: GridLayout, x: number, y: number): number {
  const column = Math.floor((x - layout.left) / layout.columnPitch);
  const row = Math.floor((y - MARGIN_PX) / layout.pitch);
  if (column < 0 || column >= layout.columns || row < 0) return -1;
  const cell = layout.pitch - GAP_PX;
  if (x - layout.left - column * layout.columnPitch > cell || y - MARGIN_PX - row * layout.pitch > cell) return -1;
  const index = row * layout.columns + column;
  return index < layout.n ? index : -1;
}

/** The indices whose cells a rectangle of the content touches, ascending. */
export function indicesIn(layout: GridLayout, rect: Rect): number[] {
  const cell = layout.pitch - GAP_PX;
  const column0 = Math.max(0, Math.ceil((rect.x - layout.left - cell) / layout.columnPitch));
  const column1 = Math.min(layout.columns - 1, Math.floor((rect.x + rect.width - layout.left) / layout.columnPitch));
  const row0 = Math.max(0, Math.ceil((rect.y - MARGIN_PX - cell) / layout.pitch));
  const row1 = Math.min(layout.rows - 1, Math.floor((rect.y + rect.height - MARGIN_PX) / layout.pitch));
  const found: number[] = [];
  for (let row = row0; row <= row1; row++) {
    for (let column = column0; column <= column1; column++) {
      const index = row * layout.columns + column;
      if (index < layout.n) found.push(index);
    }
  }
  return found;
}

/** Of some indices the one whose cell is nearest to a place, or -1 of none. */
export function nearestTo(layout: GridLayout, indices: readonly number[], [x, y]: Point): number {
  let nearest = -1;
  let least = Number.POSITIVE_INFINITY;
  for (const index of indices) {
    const cell = cellAt(layout, index);
    const distance = Math.hypot(cell.x + cell.size / 2 - x, cell.y + cell.size / 2 - y);
    if (distance < least) [nearest, least] = [index, distance];
  }
  return nearest;
}

/** The offset that brings a cell into view with the least scrolling. */
export function offsetToShow(layout: GridLayout, index: number, offset: number): number {
  const { y, size } = cellAt(layout, index);
  const top = y - MARGIN_PX;
  const bottom = y + size + MARGIN_PX;
  if (top < offset) return Math.max(0, top);
  if (bottom > offset + layout.viewHeight) return Math.min(largestOffset(layout), bottom - layout.viewHeight);
  return offset;
}

/** The offset at which a cell's row is the first. */
export const offsetToBegin = (layout: GridLayout, index: number): number =>
  clamp(cellAt(layout, index).y - MARGIN_PX, 0, largestOffset(layout));

/** Whether a cell can be seen but for its edge, or as much of it as the view has room for. */
export function isInView(layout: GridLayout, index: number, offset: number): boolean {
  const { y, size } = cellAt(layout, index);
  return (
    Math.min(y + size, offset + layout.viewHeight) - Math.max(y, offset) >= 0.9 * Math.min(size, layout.viewHeight)
  );
}
