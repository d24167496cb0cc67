import { expect, it } from "vitest";
import { type Point, rectFrom, simplify } from "./geometry";

it("simplify keeps corners and drops what lies on a line", () => {
  const square: Point[] = [];
  for (let k = 0; k <= 10; k++) square.push([k, 0]);
  for (let k = 1; k <= 10; k++) square.push([10, k]);
  for (let k = 9; k >= 0; k--) square.push([k, 10]);
  expect(simplify(square, 0.5)).toEqual([
    [0, 0],
    [10, 0],
    [10, 10],
    [0, 10],
  ]);
});

it("simplify leaves two points and a zigzag above the tolerance as they are", () => {
  expect(
    simplify(
      [
        [0, 0],
        [5, 5],
      ],
      1,
    ),
  ).toHaveLength(2);
  expect(
    simplify(
      [
        [0, 0],
        [1, 3],
        [2, 0],
        [3, 3],
      ],
      1,
    ),
  ).toHaveLength(4);
});

it("a rectangle may be drawn in any direction", () => {
  expect(rectFrom([5, 1], [2, 9])).toEqual({ x: 2, y: 1, width: 3, height: 8 });
});
