import { expect, it } from "vitest";
import { contrast, IMAGE_PALETTE, Lut, luminance, outlineOn, parseColor, textOn } from "./colors";

/** As new classes get them. */
const CLASS_PALETTE = [
  "#E69F00",
  "#56B4E9",
  "#009E73",
  "#D55E00",
  "#0072B2",
  "#F0E442",
  "#CC79A7",
  "#882255",
  "#44AA99",
  "#999933",
  "#AA4499",
  "#6699CC",
  "#DDCC77",
  "#7A5C3E",
];

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

it("images have twelve different colors, none of them a class's", () => {
  expect(new Set(IMAGE_PALETTE).size).toBe(12);
  const ofClasses = new Set(CLASS_PALETTE.map((color) => color.toLowerCase()));
  expect(IMAGE_PALETTE.filter((color) => ofClasses.has(color.toLowerCase()))).toEqual([]);
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
