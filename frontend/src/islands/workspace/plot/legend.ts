import { max, sum } from "d3-array";
import { scaleLinear } from "d3-scale";
import { select } from "d3-selection";
import { toCss, viridis } from "../../../lib/colors";
import { el, ICONS, icon } from "../../../lib/dom";
import { count, plural } from "../../../lib/format";
import type { ColorMode } from "../../../state/filters";
import type { Coloring, LegendEntry } from "./coloring";

export interface LegendData {
  readonly mode: ColorMode;
  /** Points of the map, shown or hidden by the filters. */
  readonly nObjects: number;
  readonly coloring: Coloring;
  readonly all: Uint32Array;
  /** Counts inside the region, or null when the region is everything. */
  readonly region: Uint32Array | null;
  readonly activeClasses: ReadonlySet<number>;
}

const TITLES: Record<ColorMode, string> = {
  prediction: "Prediction",
  label: "Label",
  discordance: "Label against prediction",
  confidence: "Confidence",
  group: "Group",
  image: "Image",
};

/** The key to the colors, and how many objects have each: a strip below the map. Its height depends on the classes and
 * on the width only, so that the map stands still when a lasso changes the counts. */
export class Legend {
  readonly element: HTMLElement;
  private readonly title: HTMLElement;
  private readonly note: HTMLElement;
  private readonly shown: HTMLElement;
  private readonly body: HTMLElement;
  private isHistogram = false;

  constructor(
    open: boolean,
    private readonly onClass: (value: number) => void,
    onToggle: (open: boolean) => void,
  ) {
    this.title = el("span", { class: "legend__title" });
    this.note = el("span", { class: "legend__note" });
    this.shown = el("span", { class: "legend__shown num", title: "Points shown", "data-testid": "plot-count" });
    this.body = el("div", { class: "legend__body" });
    const button = el(
      "button",
      {
        type: "button",
        class: "legend__toggle",
        title: "Show or hide the legend",
        "aria-expanded": String(open),
        onclick: () => {
          const expanded = button.getAttribute("aria-expanded") !== "true";
          button.setAttribute("aria-expanded", String(expanded));
          this.body.hidden = !expanded;
          onToggle(expanded);
        },
      },
      this.title,
      icon(ICONS.down),
    );
    this.body.hidden = !open;
    this.element = el(
      "aside",
      { class: "legend", "aria-label": "Legend", "data-testid": "legend" },
      el("div", { class: "legend__header" }, button, this.note, this.shown),
      this.body,
    );
  }

  update(data: LegendData): void {
    this.title.textContent = TITLES[data.mode];
    this.element.classList.toggle("legend--filtered", data.activeClasses.size > 0);
    // Room for the longest counts, whatever they are at the moment.
    this.element.style.setProperty("--digits", String(count(data.nObjects).length));
    const shown = sum(data.all);
    const { nObjects } = data;
    this.shown.textContent = shown === nObjects ? plural(nObjects, "point") : `${count(shown)} of ${count(nObjects)}`;
    const unpredicted = data.mode === "confidence" ? data.all[0]! : 0;
    this.note.textContent = unpredicted > 0 ? `${count(unpredicted)} without a prediction` : data.coloring.note;
    // The histogram's elements are not rows of the legend: never mix them.
    if ((data.mode === "confidence") !== this.isHistogram) this.body.replaceChildren();
    this.isHistogram = data.mode === "confidence";
    this.body.classList.toggle("legend__body--histogram", this.isHistogram);
    if (this.isHistogram) this.drawConfidence(data);
    else this.drawEntries(data);
  }

  private drawEntries(data: LegendData): void {
    const entries = data.coloring.legend.filter(
      (entry) => entry.classValue !== null || data.mode === "discordance" || data.coloring.colors.includes(entry.index),
    );
    const rows = select(this.body)
      .selectAll<HTMLElement, LegendEntry>(":scope > *")
      .data<LegendEntry>(entries, (d) => `${data.mode}-${d.index}-${d.classValue}`)
      .join((enter) =>
        enter.append((d) => {
          const parts = [
            el("span", { class: "class-chip__swatch" }),
            el("span", { class: "legend__name" }),
            el("span", { class: "legend__count num" }),
            el("span", { class: "legend__bar" }, el("span", { class: "legend__part" })),
          ];
          if (d.classValue === null) return el("div", { class: "legend__row" }, ...parts);
          const value = d.classValue;
          return el(
            "button",
            {
              type: "button",
              class: "legend__row legend__row--class",
              title: "Show only this class",
              onclick: () => this.onClass(value),
            },
            ...parts,
          );
        }),
      )
      .order();
    rows.each(function (d) {
      const all = data.all[d.index]!;
      const part = data.region === null ? all : data.region[d.index]!;
      const row = select(this);
      this.style.setProperty("--swatch", toCss(d.color));
      if (d.classValue !== null) this.setAttribute("aria-pressed", String(data.activeClasses.has(d.classValue)));
      row.select(".legend__name").text(d.name).attr("title", d.name);
      row.select(".legend__count").text(data.region === null ? count(all) : `${count(part)} / ${count(all)}`);
      row.select(".legend__bar").attr("hidden", data.region === null ? "" : null);
      row.select(".legend__part").style("width", all === 0 ? "0" : `${(100 * part) / all}%`);
    });
  }

  /** A histogram of the confidence in 24 bins, in the colors of the map. */
  private drawConfidence(data: LegendData): void {
    const bins = 24;
    const heights = new Array<number>(bins).fill(0);
    for (let c = 1; c < 256; c++) heights[Math.min(bins - 1, Math.floor((c * bins) / 256))]! += data.all[c]!;
    const y = scaleLinear([0, Math.max(1, max(heights) ?? 1)], [0, 100]);
    const chart = el("div", { class: "legend__histogram", role: "img", "aria-label": "Histogram of the confidence" });
    heights.forEach((height, k) => {
      chart.append(
        el("span", {
          style: {
            height: `${Math.max(height > 0 ? 3 : 0, y(height))}%`,
            background: toCss(viridis((k + 0.5) / bins)),
          },
          title: `${Math.round((100 * k) / bins)} to ${Math.round((100 * (k + 1)) / bins)}%: ${count(height)}`,
        }),
      );
    });
    this.body.replaceChildren(
      chart,
      el("div", { class: "legend__scale num" }, el("span", {}, "0"), el("span", {}, "50%"), el("span", {}, "100%")),
    );
  }
}
