const LINE_PX = 18;
const PER_PIXEL = 0.0016;
/** Browsers report a pinch on a touchpad as a turn of the wheel with Ctrl held, by smaller steps. */
const PER_PIXEL_OF_A_PINCH = 0.01;

/** By how much a turn of the wheel makes larger (above 1) or smaller. */
export function zoomFactor(event: WheelEvent): number {
  const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE_PX : 1);
  return Math.exp(-pixels * (event.ctrlKey ? PER_PIXEL_OF_A_PINCH : PER_PIXEL));
}
