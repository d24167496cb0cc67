import { expect, it } from "vitest";
import { CLASS_PALETTE, contrast, Lut, luminance, outlineOn, parseColor, textOn } from "./colors";

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

it("a color that would vanish on the ground has a hairline that shows on both; the others have none", () => {
  for (const [color, ground] of [
    ["#000000", "#101317"],
    ["#1a1020", "#101317"],
    ["#ffffff", "#fcfcfd"],
    ["#F0E442", "#fcfcfd"],
  ].map((pair) => pair.map(parseColor))) {
    const outline = outlineOn(color!, ground!);
    expect(outline).not.toBeNull();
    expect(contrast(outline!, ground!)).toBeGreaterThan(2);
  }
  expect(outlineOn(parseColor("#0072B2"), parseColor("#fcfcfd"))).toBeNull();
  expect(outlineOn(parseColor("#F0E442"), parseColor("#101317"))).toBeNull();
});

it("the rim of a labeled point is told from its color, whatever the class", () => {
  for (const [ground, mark] of [
    ["#101317", "#ffffff"],
    ["#fcfcfd", "#0d1219"],
  ].map((pair) => pair.map(parseColor))) {
    const lut = new Lut();
    const colors = [...CLASS_PALETTE, "#000000", "#ffffff", "#808080"].map(parseColor);
    colors.forEach((color, i) => {
      lut.set(i, color);
    });
    const rows = lut.forPoints(ground!, mark!);
    colors.forEach((color, i) => {
      const rim = Array.from(rows.subarray(2048 + 4 * i, 2048 + 4 * i + 3)) as [number, number, number];
      expect(contrast(rim, color)).toBeGreaterThanOrEqual(1.7);
    });
  }
});
