import { expect, it } from "vitest";
import { parseColor } from "../../../lib/colors";
import type { ColorMode } from "../../../state/filters";
import { colorize, countEntries } from "./coloring";

const classes = [
  { value: 1, name: "Lymphocyte", color: "#E69F00", key: "1" },
  { value: 7, name: "Epithelial", color: "#56B4E9", key: "2" },
];
const input = {
  n: 4,
  labels: Uint8Array.of(0, 7, 1, 7),
  predictions: Uint8Array.of(1, 7, 7, 0),
  confidences: Uint8Array.of(0, 128, 255, 0),
  images: Uint32Array.of(11, 11, 12, 13),
  imageNames: new Map([
    [11, "a.png"],
    [12, "b.png"],
    [13, "c.png"],
  ]),
  groups: Uint8Array.of(2, 1, 2, 0, 1),
};
const color = (mode: ColorMode) => colorize(mode, input, classes, { unknown: [9, 9, 9] }, new Uint8Array(4));

it("classes have their own color, in predictions and in labels", () => {
  expect(Array.from(color("prediction").colors)).toEqual([1, 7, 7, 0]);
  expect(Array.from(color("label").colors)).toEqual([0, 7, 1, 7]);
  expect(color("label").palette.get(7)).toEqual(parseColor("#56B4E9"));
  expect(color("label").palette.get(0)).toEqual([9, 9, 9]);
});

it("discordance tells agreement, difference and what cannot be compared", () => {
  expect(Array.from(color("discordance").colors)).toEqual([0, 1, 2, 3]);
});

it("a prediction without any confidence is still a prediction", () => {
  expect(Array.from(color("confidence").colors)).toEqual([1, 128, 255, 0]);
});

it("objects of one image share a color, and the legend names it", () => {
  const { colors, legend } = color("image");
  expect(colors[0]).toBe(colors[1]);
  expect(new Set(colors).size).toBe(3);
  expect(legend.map(({ index, name }) => [index, name])).toEqual([
    [colors[0], "a.png"],
    [colors[2], "b.png"],
    [colors[3], "c.png"],
  ]);
});

it("objects of one group share a color of their own, and it is said that groups are no classes", () => {
  const { colors, palette, legend, note } = color("group");
  expect(Array.from(colors)).toEqual([2, 1, 2, 0]);
  expect(palette.get(1)).not.toEqual(palette.get(2));
  expect(palette.get(0)).toEqual([9, 9, 9]);
  expect([legend.length, note]).toEqual([0, "2 groups of similar objects, not classes"]);
});

it("before the groups are there, nothing has a color", () => {
  const { colors, note } = colorize(
    "group",
    { ...input, groups: null },
    classes,
    { unknown: [9, 9, 9] },
    new Uint8Array(4),
  );
  expect([[...colors], note]).toEqual([[0, 0, 0, 0], ""]);
});

it("with more images than colors, none is named", () => {
  const many = { ...input, n: 20, images: Uint32Array.from({ length: 20 }, (_, i) => i) };
  const { legend, note } = colorize("image", many, classes, { unknown: [9, 9, 9] }, new Uint8Array(20));
  expect([legend.length, note]).toEqual([0, "20 images; colors repeat"]);
});

it("the legend counts what the filters show, and what of it is in the region", () => {
  const counts = countEntries(color("prediction").colors, Uint8Array.of(0, 1, 0, 0), Uint32Array.of(1, 2, 9));
  expect([counts.all[1], counts.all[7], counts.all[0]]).toEqual([1, 1, 1]);
  expect([counts.region[1], counts.region[7]]).toEqual([0, 1]);
});
