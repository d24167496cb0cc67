import { expect, it } from "vitest";
import { ViewportStore } from "./viewport";

function viewport(): ViewportStore {
  const view = new ViewportStore();
  view.resize(600, 400);
  view.setBounds({ x0: -10, y0: -5, width: 20, height: 10 });
  return view;
}

it("shows the whole map, y upwards, with one scale for both axes", () => {
  const view = viewport();
  const [left, bottom] = view.toPixels(-10, -5);
  const [right, top] = view.toPixels(10, 5);
  expect(left).toBeGreaterThan(0);
  expect(right).toBeLessThan(600);
  expect(top).toBeLessThan(bottom);
  expect(right - left).toBeCloseTo(2 * (bottom - top));
});

it("zooms around the pointer", () => {
  const view = viewport();
  const before = view.toData(150, 320);
  view.zoomAt(3, 150, 320);
  const after = view.toData(150, 320);
  expect(after[0]).toBeCloseTo(before[0]);
  expect(after[1]).toBeCloseTo(before[1]);
  expect(view.zoom).toBeCloseTo(3);
});

it("a new map fits itself in only while the user has not moved the view", () => {
  const view = viewport();
  view.setBounds({ x0: 0, y0: 0, width: 2, height: 2 });
  expect(view.centerX).toBe(1);
  view.pan(30, 0);
  const { centerX } = view;
  view.setBounds({ x0: 0, y0: 0, width: 4, height: 4 });
  expect(view.centerX).toBe(centerX);
  view.fit();
  expect(view.centerX).toBe(2);
});

it("a map of a single place does not break the scale", () => {
  const view = viewport();
  view.setBounds({ x0: 3, y0: 3, width: 0, height: 0 });
  expect(Number.isFinite(view.scale)).toBe(true);
});
