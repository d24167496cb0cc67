import { clamp, type Point } from "../lib/geometry";
import type { Bounds } from "../lib/wire";
import { Emitter } from "./emitter";

/** Room for a point and its ring at the edge. */
const MARGIN_PX = 12;
const MAX_ZOOM = 2000;

/** Which part of the map is on the screen. One scale for both axes: distances in the map mean the same everywhere. */
export class ViewportStore extends Emitter<"view"> {
  width = 1;
  height = 1;
  centerX = 0;
  centerY = 0;
  /** CSS pixels per unit of the data. */
  scale = 1;
  private fitScale = 1;
  private bounds: Bounds = { x0: 0, y0: 0, width: 1, height: 1 };
  /** True until the user moves the view: then a new map or another size of the window fits itself in again. */
  fitted = true;

  /** How far in, 1 = the whole map. */
  get zoom(): number {
    return this.scale / this.fitScale;
  }

  resize(width: number, height: number): void {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.updateFit();
    if (this.fitted) this.fit();
    else this.emit("view");
  }

  setBounds(bounds: Bounds): void {
    this.bounds = bounds;
    this.updateFit();
    if (this.fitted) this.fit();
    else this.emit("view");
  }

  fit(): void {
    this.centerX = this.bounds.x0 + this.bounds.width / 2;
    this.centerY = this.bounds.y0 + this.bounds.height / 2;
    this.scale = this.fitScale;
    this.fitted = true;
    this.emit("view");
  }

  pan(dxPx: number, dyPx: number): void {
    this.centerX -= dxPx / this.scale;
    this.centerY += dyPx / this.scale;
    this.fitted = false;
    this.emit("view");
  }

  /** Zoom by a factor; the data under (x, y), in pixels, stays where it is. */
  zoomAt(factor: number, x: number, y: number): void {
    const [dataX, dataY] = this.toData(x, y);
    this.scale = clamp(this.scale * factor, this.fitScale * 0.5, this.fitScale * MAX_ZOOM);
    this.centerX = dataX - (x - this.width / 2) / this.scale;
    this.centerY = dataY + (y - this.height / 2) / this.scale;
    this.fitted = false;
    this.emit("view");
  }

  toData(x: number, y: number): Point {
    return [this.centerX + (x - this.width / 2) / this.scale, this.centerY - (y - this.height / 2) / this.scale];
  }

  toPixels(x: number, y: number): Point {
    return [(x - this.centerX) * this.scale + this.width / 2, (this.centerY - y) * this.scale + this.height / 2];
  }

  private updateFit(): void {
    const usable = (size: number) => Math.max(16, size - 2 * MARGIN_PX);
    this.fitScale = Math.min(
      usable(this.width) / Math.max(this.bounds.width, 1e-6),
      usable(this.height) / Math.max(this.bounds.height, 1e-6),
    );
  }
}
