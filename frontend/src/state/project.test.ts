import { expect, it } from "vitest";
import { SpatialIndex } from "../lib/spatial-index";
import type { PlotBuffer } from "../lib/wire";
import { ProjectStore } from "./project";

function plotAt(x: number): PlotBuffer {
  return { n: 1, bounds: { x0: 0, y0: 0, width: 1, height: 1 }, positions: Uint16Array.of(x, x) };
}

const indexOf = (plot: PlotBuffer) => new SpatialIndex(plot.positions);

it("shows a layout while it runs, and the former map again when it comes to nothing", () => {
  const project = new ProjectStore();
  const [map, preview] = [plotAt(1), plotAt(2)];
  project.setPlot(4, map, indexOf(map));
  project.setPreview(17, preview, indexOf(preview));
  expect(project.plot).toBe(preview);
  expect(project.plotNumber).toBe(4);
  project.dropPreview();
  expect(project.plot).toBe(map);
  expect(project.previewJob).toBeNull();
});

it("ends a preview with the map that came of it", () => {
  const project = new ProjectStore();
  const [preview, map] = [plotAt(2), plotAt(3)];
  project.setPreview(17, preview, indexOf(preview));
  project.setPlot(1, map, indexOf(map));
  project.dropPreview();
  expect(project.plot).toBe(map);
});
