import { axisBottom, axisLeft } from "d3-axis";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import type { ViewportStore } from "../../../state/viewport";

/** Ticks on the lower and left edge. The axes of such a map mean nothing by themselves; they show where one is. */
export class Axes {
  private readonly svg: SVGSVGElement;

  constructor(stage: HTMLElement) {
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.svg.setAttribute("class", "plot__axes");
    this.svg.setAttribute("aria-hidden", "true");
    stage.append(this.svg);
    select(this.svg).append("g").attr("class", "plot__axis plot__axis--x");
    select(this.svg).append("g").attr("class", "plot__axis plot__axis--y");
  }

  update(view: ViewportStore, visible: boolean): void {
    const { width, height } = view;
    this.svg.toggleAttribute("hidden", !visible);
    if (!visible) return;
    const [left, top] = view.toData(0, 0);
    const [right, bottom] = view.toData(width, height);
    const x = scaleLinear([left, right], [0, width]);
    const y = scaleLinear([top, bottom], [0, height]);
    select(this.svg)
      .select<SVGGElement>(".plot__axis--x")
      .attr("transform", `translate(0,${height})`)
      .call(
        axisBottom(x)
          .ticks(Math.max(2, width / 110))
          .tickSize(-5)
          .tickPadding(-16)
          .tickSizeOuter(0),
      );
    select(this.svg)
      .select<SVGGElement>(".plot__axis--y")
      .call(
        axisLeft(y)
          .ticks(Math.max(2, height / 110))
          .tickSize(-5)
          .tickPadding(-9)
          .tickSizeOuter(0),
      );
  }
}
