import { outlineOn, type Rgb, textOn, toCss } from "../../../lib/colors";
import type { Tile } from "./atlas-cache";
import { framePx, NO_FRAME_PX } from "./layout";

export interface TileLook {
  readonly x: number;
  readonly y: number;
  readonly tilePx: number;
  readonly tile: Tile | null;
  /** Frame outside, or null without a prediction: thin and gray. */
  readonly prediction: { readonly color: Rgb; readonly letter: string } | null;
  /** Frame inside, or null without a label: thin and black. */
  readonly label: { readonly color: Rgb; readonly letter: string } | null;
  /** The label was accepted by sample, its patch unseen. */
  readonly unseen: boolean;
  /** Marked in a sample that is being looked through. */
  readonly wrong: boolean;
  readonly picked: boolean;
  readonly cursor: boolean;
  readonly focused: boolean;
}

export interface GridTheme {
  /** What the tiles stand on. */
  readonly ground: Rgb;
  readonly accent: string;
  readonly onAccent: string;
  readonly danger: string;
  readonly background: string;
  readonly tileBackground: string;
  readonly noPrediction: string;
  readonly ink: string;
  readonly font: string;
  readonly letters: boolean;
}

const SMALLEST_WITH_LETTERS = 40;
const HAIRLINE_PX = 1;

/** Draws one cell: pick mark, prediction frame, label frame, patch, letters. */
export function drawTile(context: CanvasRenderingContext2D, look: TileLook, theme: GridTheme): void {
  const { x, y, tilePx } = look;
  const frame = framePx(tilePx);
  const outside = tilePx + 4 * frame;
  const inner = x + 2 * frame;
  const innerY = y + 2 * frame;
  const mark = look.wrong ? theme.danger : look.picked ? theme.accent : null;
  if (mark !== null) {
    context.fillStyle = mark;
    roundedRect(context, x - 3, y - 3, outside + 6, outside + 6, 5);
    context.fill();
  }
  // From outside to inside, each around the next: the frames lie close to the patch, whatever their widths.
  const labelPx = look.label === null ? NO_FRAME_PX : frame;
  const reach = labelPx + (look.prediction === null ? NO_FRAME_PX : frame);
  drawFrame(context, look.prediction?.color ?? null, theme.noPrediction, theme, inner - reach, innerY - reach, {
    size: tilePx + 2 * reach,
    radius: Math.min(3, reach - 1),
  });
  drawFrame(context, look.label?.color ?? null, "#000000", theme, inner - labelPx, innerY - labelPx, {
    size: tilePx + 2 * labelPx,
    radius: 0,
  });
  if (look.tile === null) {
    context.fillStyle = theme.tileBackground;
    context.fillRect(inner, innerY, tilePx, tilePx);
  } else {
    const { bitmap, x: sx, y: sy, size } = look.tile;
    context.drawImage(bitmap, sx, sy, size, size, inner, innerY, tilePx, tilePx);
  }
  if (theme.letters && tilePx >= SMALLEST_WITH_LETTERS) drawLetters(context, look, theme, inner, innerY);
  else if (look.label !== null) drawCorner(context, look.label.color, look.unseen, inner, innerY + tilePx);
  if (mark !== null) drawMark(context, theme, mark, look.wrong, x + outside - 1, y + 1);
  if (look.cursor || look.focused) {
    context.lineWidth = 2;
    context.strokeStyle = look.cursor ? theme.ink : theme.accent;
    context.setLineDash(look.cursor ? [4, 3] : []);
    context.strokeRect(x - 2, y - 2, outside + 4, outside + 4);
    context.setLineDash([]);
  }
}

/** A filled square that the next one covers but for its rim. A color that vanishes on the ground has a hairline. */
function drawFrame(
  context: CanvasRenderingContext2D,
  color: Rgb | null,
  none: string,
  theme: GridTheme,
  x: number,
  y: number,
  { size, radius }: { readonly size: number; readonly radius: number },
): void {
  const square = (inset: number, fill: string) => {
    context.fillStyle = fill;
    roundedRect(context, x + inset, y + inset, size - 2 * inset, size - 2 * inset, Math.max(0, radius - inset));
    context.fill();
  };
  const outline = color === null ? null : outlineOn(color, theme.ground);
  if (outline !== null) square(0, toCss(outline));
  square(outline === null ? 0 : HAIRLINE_PX, color === null ? none : toCss(color));
}

/** The key of the label on a filled tag below left, ≈ beside it where nobody saw the patch; the key of a prediction that differs, outlined, below right. */
function drawLetters(context: CanvasRenderingContext2D, look: TileLook, theme: GridTheme, x: number, y: number): void {
  const size = look.tilePx >= 80 ? 17 : 14;
  const write = (letters: string, column: number, row: number) => {
    context.font = `600 ${size - (letters.length > 1 ? 6 : 4)}px ${theme.font}`;
    context.fillText(letters, column, row);
  };
  context.textAlign = "center";
  context.textBaseline = "middle";
  const bottom = y + look.tilePx - size;
  if (look.label !== null) {
    context.fillStyle = toCss(look.label.color);
    context.fillRect(x, bottom, size, size);
    context.fillStyle = textOn(look.label.color);
    write(look.label.letter, x + size / 2, bottom + size / 2 + 0.5);
    if (look.unseen) {
      context.fillStyle = "rgb(0 0 0 / 62%)";
      context.fillRect(x + size, bottom, size - 2, size);
      context.fillStyle = "#ffffff";
      write("≈", x + size + (size - 2) / 2, bottom + size / 2 + 0.5);
    }
  }
  const { prediction } = look;
  if (prediction !== null && prediction.letter !== look.label?.letter) {
    const right = x + look.tilePx - size;
    context.fillStyle = "rgb(0 0 0 / 62%)";
    context.fillRect(right, bottom, size, size);
    context.fillStyle = toCss(prediction.color);
    context.fillRect(right, bottom, size, 2);
    context.fillStyle = "#ffffff";
    write(prediction.letter, right + size / 2, bottom + size / 2 + 1);
  }
}

/** For tiles too small for a letter: a labeled one is told by its shape, not by a color alone. Hollow: accepted unseen. */
function drawCorner(context: CanvasRenderingContext2D, color: Rgb, unseen: boolean, x: number, bottom: number): void {
  context.beginPath();
  context.moveTo(x, bottom);
  context.lineTo(x, bottom - 10);
  context.lineTo(x + 10, bottom);
  context.closePath();
  context.fillStyle = unseen ? "rgb(0 0 0 / 62%)" : toCss(color);
  context.fill();
  if (!unseen) return;
  context.lineWidth = 2;
  context.strokeStyle = toCss(color);
  context.stroke();
}

/** A check mark for what is selected, a cross for what is wrong. */
function drawMark(
  context: CanvasRenderingContext2D,
  theme: GridTheme,
  color: string,
  isCross: boolean,
  right: number,
  top: number,
): void {
  const radius = 7.5;
  const x = right - radius + 3;
  const y = top + radius - 3;
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  context.lineWidth = 1.25;
  context.strokeStyle = theme.background;
  context.stroke();
  context.beginPath();
  if (isCross) {
    context.moveTo(x - 2.8, y - 2.8);
    context.lineTo(x + 2.8, y + 2.8);
    context.moveTo(x + 2.8, y - 2.8);
    context.lineTo(x - 2.8, y + 2.8);
  } else {
    context.moveTo(x - 3.2, y + 0.2);
    context.lineTo(x - 0.9, y + 2.5);
    context.lineTo(x + 3.4, y - 2.4);
  }
  context.lineWidth = 1.75;
  context.strokeStyle = theme.onAccent;
  context.stroke();
}

function roundedRect(context: CanvasRenderingContext2D, x: number, y: number, w: number, h: number, r: number): void {
  context.beginPath();
  context.roundRect(x, y, w, h, r);
}
