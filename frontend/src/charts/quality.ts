import { scaleLinear } from "d3-scale";
import { create, type Selection } from "d3-selection";
import type { QualityAnswer } from "../api/projects";
import type { Quality, QualityAtLabels, ReliabilityBin } from "../api/types";
import { el } from "../lib/dom";
import { count, percent, plural } from "../lib/format";
import { FEWEST_HELD_OUT, fewOfAClass, onlyThere, standing, standsIn } from "../lib/quality";

type Svg = Selection<SVGSVGElement, undefined, null, undefined>;

const SIZE = 200;
const MARGIN = { left: 34, right: 16, top: 10, bottom: 34 };

/** How good the predictions are: measures, confusion matrix, reliability diagram, and how it grew with the labels. */
export function qualityPanel({ quality, n_labels, history, classes }: QualityAnswer): HTMLElement {
  const panel = el("div", { class: "quality", "data-testid": "quality" });
  if (quality === null) {
    panel.append(el("p", { class: "muted" }, "Nothing is predicted before two classes have labels."));
    return panel;
  }
  if (quality.classifier_fault != null)
    panel.append(el("p", { class: "quality__few" }, standsIn(quality.classifier_fault)));
  if (quality.accuracy === null || quality.n_held_out < FEWEST_HELD_OUT) {
    panel.append(
      el(
        "p",
        { class: "quality__few" },
        `Too few labels to say how good the predictions are: ${plural(quality.n_held_out, "label")} of ${count(n_labels)} ` +
          "could be held out. Label some ten more of each class.",
      ),
    );
    if (quality.accuracy === null) return panel;
  }
  if (quality.few_images != null) panel.append(el("p", { class: "quality__few" }, onlyThere(quality.few_images)));
  const fact = (term: string, value: number | null, note: string, between: readonly [number, number] | null = null) =>
    el(
      "div",
      { class: "quality__fact", title: note },
      el("dt", {}, term),
      el("dd", { class: "num" }, value === null ? "–" : percent(value)),
      between && el("dd", { class: "quality__between num" }, `${percent(between[0])} to ${percent(between[1])}`),
    );
  const unmeasured = quality.classes.filter((_, k) => quality.confusion[k]!.every((n) => n === 0));
  const unlabeled = classes.filter((c) => !quality.classes.includes(c.value)).map((c) => c.name);
  const nameOf = (value: number) => classes.find((c) => c.value === value)?.name ?? String(value);
  const curve = measured(standing(history));
  const few = fewOfAClass(quality, nameOf);
  panel.append(
    el(
      "dl",
      { class: "quality__facts" },
      quality.expected_right != null &&
        fact(
          "Expected right, of the rest",
          quality.expected_right,
          "Share of the objects without a label that is expected to be predicted rightly: their mean confidence",
        ),
      fact(
        "Balanced accuracy, of labels",
        quality.balanced_accuracy,
        "Mean over the classes of the share that is predicted rightly; below, where the true one lies with 95% confidence",
        quality.balanced_between,
      ),
      fact(
        "Accuracy, of labels",
        quality.accuracy,
        "Share of all held-out labels that is predicted rightly; below, where the true share lies with 95% confidence",
        quality.accuracy_between,
      ),
      fact("Calibration error", quality.ece, "Mean distance between confidence and the share that is right"),
    ),
    el(
      "p",
      { class: "muted" },
      `Measured on ${plural(quality.n_held_out, "label")} that the predictions were not made from, of ${count(n_labels)}.`,
      unmeasured.length > 0 &&
        ` None of them is labeled ${unmeasured.map(nameOf).map(quoted).join(" or ")}: that is not measured yet.`,
      few !== "" && ` ${few}`,
      unlabeled.length > 0 &&
        ` Nothing is predicted as ${unlabeled.map(quoted).join(" or ")}: there were no labels of it to learn from.`,
      " Labels that confirmed a proposal are easier than the rest, of which fewer may be right.",
    ),
    el(
      "div",
      { class: "quality__charts" },
      figure("Confusion matrix", "Rows: the label. Columns: the prediction.", confusionMatrix(quality, classes)),
      figure(
        "Reliability",
        "Of predictions so sure, so many are right: on the line, confidence means what it says. Also measured on what was left out of pages.",
        reliabilityDiagram(quality.reliability),
      ),
      curve.length > 1 ? figure("Balanced accuracy by labels", "On this map.", learningCurve(curve)) : null,
    ),
  );
  return panel;
}

const figure = (title: string, note: string, content: Element): HTMLElement =>
  el("figure", { class: "quality__figure" }, el("figcaption", {}, el("strong", {}, title), " ", note), content);

function confusionMatrix(quality: Quality, classes: QualityAnswer["classes"]): HTMLElement {
  const classOf = (value: number) => classes.find((c) => c.value === value);
  const nameOf = (value: number) => classOf(value)?.name ?? String(value);
  const swatch = (value: number) =>
    el("span", {
      class: "quality__swatch",
      style: { "--swatch": classOf(value)?.color ?? "transparent" },
      role: "img",
      "aria-label": nameOf(value),
      title: nameOf(value),
    });
  const rows = quality.confusion.map((row, k) => {
    const total = row.reduce((sum, n) => sum + n, 0);
    const value = quality.classes[k]!;
    return el(
      "tr",
      {},
      el("th", { class: "quality__class", scope: "row" }, swatch(value), ` ${value} ${nameOf(value)}`),
      ...row.map((n, j) =>
        el(
          "td",
          {
            class: j === k ? "num quality__cell quality__cell--right" : "num quality__cell",
            style: { "--share": `${total === 0 ? 0 : Math.round((45 * n) / total)}%` },
            title: `${plural(n, "object")} labeled ${nameOf(value)}, predicted ${nameOf(quality.classes[j]!)}`,
          },
          n === 0 ? "" : count(n),
        ),
      ),
    );
  });
  return el(
    "div",
    { class: "quality__scroll" },
    el(
      "table",
      { class: "quality__matrix" },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          el("td", {}),
          ...quality.classes.map((v) =>
            el("th", { class: "quality__class quality__class--column", scope: "col" }, swatch(v), ` ${v}`),
          ),
        ),
      ),
      el("tbody", {}, ...rows),
    ),
  );
}

function chart(label: string): Svg {
  return create<SVGSVGElement>("svg")
    .attr("viewBox", `0 0 ${SIZE} ${SIZE}`)
    .attr("class", "quality__chart")
    .attr("role", "img")
    .attr("aria-label", label);
}

const across = (domain: readonly [number, number]) =>
  scaleLinear()
    .domain(domain)
    .range([MARGIN.left, SIZE - MARGIN.right]);
const upwards = scaleLinear()
  .domain([0, 1])
  .range([SIZE - MARGIN.bottom, MARGIN.top]);

function axes(svg: Svg, x: ReturnType<typeof across>, format: (tick: number) => string, title: string): void {
  svg
    .selectAll(null)
    .data([0, 0.25, 0.5, 0.75, 1])
    .join("line")
    .attr("class", "quality__grid")
    .attr("x1", MARGIN.left)
    .attr("x2", SIZE - MARGIN.right)
    .attr("y1", (share) => upwards(share))
    .attr("y2", (share) => upwards(share));
  svg
    .selectAll(null)
    .data([0, 0.5, 1])
    .join("text")
    .attr("x", MARGIN.left - 4)
    .attr("y", (share) => upwards(share) + 3)
    .attr("text-anchor", "end")
    .text(percent);
  svg
    .selectAll(null)
    .data(x.ticks(3))
    .join("text")
    .attr("x", (tick) => x(tick))
    .attr("y", SIZE - MARGIN.bottom + 12)
    .attr("text-anchor", "middle")
    .text(format);
  svg
    .append("text")
    .attr("x", (MARGIN.left + SIZE - MARGIN.right) / 2)
    .attr("y", SIZE - 4)
    .attr("text-anchor", "middle")
    .text(title);
}

/** A circle for each bin, its area the number of labels in it; the line is where confidence is what it says. */
function reliabilityDiagram(bins: readonly ReliabilityBin[]): SVGSVGElement {
  const svg = chart(
    `Reliability diagram: ${bins.map((bin) => `${percent(bin.confidence)} sure, ${percent(bin.right)} right`).join("; ")}`,
  );
  const x = across([0, 1]);
  axes(svg, x, percent, "Confidence");
  svg
    .append("line")
    .attr("class", "quality__ideal")
    .attr("x1", x(0))
    .attr("y1", upwards(0))
    .attr("x2", x(1))
    .attr("y2", upwards(1));
  const most = Math.max(...bins.map((bin) => bin.n), 1);
  svg
    .selectAll("circle")
    .data(bins)
    .join("circle")
    .attr("class", "quality__point")
    .attr("cx", (bin) => x(bin.confidence))
    .attr("cy", (bin) => upwards(bin.right))
    .attr("r", (bin) => 3 + 6 * Math.sqrt(bin.n / most))
    .append("title")
    .text(
      (bin) => `${plural(bin.n, "label")}, ${percent(bin.confidence)} sure on average: ${percent(bin.right)} right`,
    );
  return svg.node()!;
}

interface Measured {
  readonly n_labels: number;
  readonly balanced_accuracy: number;
}

/** The revisions whose measure rests on enough labels. */
const measured = (history: readonly QualityAtLabels[]): Measured[] =>
  history.flatMap(({ n_labels, balanced_accuracy, n_held_out }) =>
    balanced_accuracy !== null && (n_held_out ?? 0) >= FEWEST_HELD_OUT ? [{ n_labels, balanced_accuracy }] : [],
  );

function learningCurve(points: readonly Measured[]): SVGSVGElement {
  const last = points.at(-1)!;
  const svg = chart(
    `Balanced accuracy by labels: ${percent(points[0]!.balanced_accuracy)} at ${count(points[0]!.n_labels)}, ` +
      `${percent(last.balanced_accuracy)} at ${count(last.n_labels)}`,
  );
  const x = across([0, Math.max(...points.map((point) => point.n_labels))]);
  axes(svg, x, count, "Labels");
  svg
    .append("polyline")
    .attr("class", "quality__curve")
    .attr("points", points.map((point) => `${x(point.n_labels)},${upwards(point.balanced_accuracy)}`).join(" "));
  svg
    .append("circle")
    .attr("class", "quality__point")
    .attr("cx", x(last.n_labels))
    .attr("cy", upwards(last.balanced_accuracy))
    .attr("r", 3.5);
  return svg.node()!;
}

const quoted = (name: string) => `“${name}”`;
