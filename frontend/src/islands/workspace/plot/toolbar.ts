import { el, ICONS, icon } from "../../../lib/dom";
import { percent } from "../../../lib/format";
import { COLOR_MODES, type ColorMode, type FilterMode } from "../../../state/filters";
import type { WorkspaceController } from "../controller";

/* What a list is for stands in its options: it is there at every width. */
const COLOR_NAMES: Record<ColorMode, string> = {
  prediction: "Color: prediction",
  label: "Color: label",
  discordance: "Color: discordance",
  confidence: "Color: confidence",
  group: "Color: group",
  image: "Color: image",
};

const FILTER_NAMES: Record<FilterMode, string> = {
  all: "Show: all",
  unlabeled: "Show: unlabeled",
  labeled: "Show: labeled",
  discordant: "Show: discordant",
  seen: "Show: without ≈",
  sampled: "Show: only ≈",
};

/** Tools, coloring and filters of the map. */
export class PlotToolbar {
  readonly element: HTMLElement;
  private readonly subscriptions: (() => void)[];

  constructor(controller: WorkspaceController) {
    const { filters, labels, viewport } = controller;
    const tool = (name: "lasso" | "pan", title: string) =>
      el(
        "button",
        {
          type: "button",
          class: "button button--small button--icon",
          title,
          "aria-label": title,
          "data-testid": `tool-${name}`,
          onclick: () => controller.setTool(name),
        },
        icon(ICONS[name]),
      );
    const lasso = tool("lasso", "Lasso (L); Shift adds, Alt subtracts");
    const pan = tool("pan", "Pan (P), or hold Space");
    const color = el("select", {
      class: "input select input--small",
      id: "plot-color",
      title: "Color the points by (V)",
      "aria-label": "Color the points by",
      "data-testid": "color-by",
      onchange: () => controller.setColor(color.value as ColorMode),
    });
    color.append(...COLOR_MODES.map((mode) => el("option", { value: mode }, COLOR_NAMES[mode])));
    const show = el("select", {
      class: "input select input--small",
      id: "plot-filter",
      title: "Show on the map (F)",
      "aria-label": "Show on the map",
      "data-testid": "filter",
      onchange: () => filters.setMode(show.value as FilterMode),
    });
    const confidence = el("input", {
      type: "range",
      class: "slider plot__slider",
      id: "plot-confidence",
      min: "0",
      max: "255",
      step: "5",
      value: "0",
      title: "Hide predictions less sure than this",
      "data-testid": "min-confidence",
      oninput: () => {
        showConfidence(Number(confidence.value));
      },
      onchange: () => filters.setMinConfidence(Number(confidence.value)),
    });
    const output = el("output", { class: "num plot__slider-value" });
    const showConfidence = (least: number) => {
      output.textContent = least === 0 ? "any" : `≥${percent(least / 255)}`;
    };
    const reset = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small button--icon toolbar__last",
        title: "Show the whole map (R)",
        "aria-label": "Show the whole map",
        "data-testid": "reset-view",
        onclick: () => viewport.fit(),
      },
      icon(ICONS.fit),
    );
    this.element = el(
      "div",
      { class: "toolbar toolbar--map", role: "toolbar", "aria-label": "Map" },
      el("div", { class: "button-group" }, lasso, pan),
      el("span", { class: "toolbar__field" }, color),
      el("span", { class: "toolbar__field" }, show),
      el(
        "label",
        { class: "toolbar__field", title: "Hide predictions less sure than this" },
        el("span", {}, "Confidence"),
        confidence,
        output,
      ),
      reset,
    );
    const showTool = () => {
      lasso.setAttribute("aria-pressed", String(controller.tool === "lasso"));
      pan.setAttribute("aria-pressed", String(controller.tool === "pan"));
    };
    const showFilters = () => {
      const modes = controller.region.filterModes;
      if (show.options.length !== modes.length) {
        show.replaceChildren(...modes.map((mode) => el("option", { value: mode }, FILTER_NAMES[mode])));
      }
      show.value = filters.mode;
      confidence.value = String(filters.minConfidence);
      showConfidence(filters.minConfidence);
    };
    const showColor = () => {
      color.value = filters.color;
    };
    showTool();
    showFilters();
    showColor();
    this.subscriptions = [
      controller.on("tool", showTool),
      filters.on("filters", showFilters),
      labels.on("labels", showFilters),
      filters.on("colors", showColor),
    ];
  }

  destroy(): void {
    for (const end of this.subscriptions) end();
  }
}
