import { select } from "d3-selection";
import type { Point } from "../../../lib/geometry";
import type { LassoOp } from "../../../state/selection";

/** What is drawn over the points, in pixels of the stage. */
export interface OverlayMarks {
  /** The lassos that made the region. */
  readonly outlines: readonly { readonly op: LassoOp; readonly points: readonly Point[] }[];
  /** The lasso under the pointer. */
  readonly lasso: { readonly op: LassoOp; readonly points: readonly Point[] } | null;
  readonly cursor: Point | null;
  readonly focus: Point | null;
}

/** Lassos and rings, as SVG: a handful of shapes that change with every move of the pointer. */
export class PlotOverlay {
  private readonly svg: SVGSVGElement;

  constructor(stage: HTMLElement) {
    this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.svg.setAttribute("class", "plot__overlay");
    this.svg.setAttribute("aria-hidden", "true");
    stage.append(this.svg);
  }

  update(marks: OverlayMarks): void {
    const paths = [
      ...marks.outlines.map((outline) => ({ ...outline, name: "outline" })),
      ...(marks.lasso === null ? [] : [{ ...marks.lasso, name: "lasso" }]),
    ];
    select(this.svg)
      .selectAll<SVGPathElement, (typeof paths)[number]>("path")
      .data(paths)
      .join("path")
      .attr("class", (d) => `plot__${d.name} plot__${d.name}--${d.op}`)
      .attr("d", (d) => pathOf(d.points));
    const rings = [
      ...(marks.cursor === null ? [] : [{ at: marks.cursor, radius: 8, name: "cursor" }]),
      ...(marks.focus === null ? [] : [{ at: marks.focus, radius: 7, name: "focus" }]),
    ].flatMap((ring) => [
      // A wide ring below in the color of the ground, so that the mark shows on points of any color.
      { ...ring, name: "halo" },
      ring,
    ]);
    select(this.svg)
      .selectAll<SVGCircleElement, (typeof rings)[number]>("circle")
      .data(rings)
      .join("circle")
      .attr("class", (d) => `plot__ring plot__ring--${d.name}`)
      .attr("cx", (d) => d.at[0])
      .attr("cy", (d) => d.at[1])
      .attr("r", (d) => d.radius);
  }
}

function pathOf(points: readonly Point[]): string {
  return `M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}Z`;
}
