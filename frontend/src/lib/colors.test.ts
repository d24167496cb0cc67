import { expect, it } from "vitest";
import { CLASS_PALETTE, luminance, parseColor, textOn } from "./colors";

it("reads colors of both lengths, and gray for anything else", () => {
  expect(parseColor("#E69F00")).toEqual([230, 159, 0]);
  expect(parseColor(" #fa0 ")).toEqual([255, 170, 0]);
  expect(parseColor("red; }")).toEqual([128, 128, 128]);
});

it("text on a class color has at least a contrast of 4.5", () => {
  for (const color of CLASS_PALETTE.map(parseColor)) {
    const text = textOn(color) === "#000000" ? 0 : 1;
    const [high, low] = [Math.max(text, luminance(color)), Math.min(text, luminance(color))];
    expect((high + 0.05) / (low + 0.05)).toBeGreaterThan(4.5);
  }
});

it("offers at least twelve different colors", () => {
  expect(new Set(CLASS_PALETTE).size).toBeGreaterThanOrEqual(12);
});
