import { el, ICONS, icon } from "../../../lib/dom";
import { count, percent } from "../../../lib/format";
import { COLOR_MODES, type ColorMode, FILTER_MODES, type FilterMode } from "../../../state/filters";
import type { WorkspaceController } from "../controller";

const COLOR_NAMES: Record<ColorMode, string> = {
  prediction: "Prediction",
  label: "Label",
  discordance: "Discordance",
  confidence: "Confidence",
  image: "Image",
};

const FILTER_NAMES: Record<FilterMode, string> = {
  all: "All",
  unlabeled: "Unlabeled",
  labeled: "Labeled",
  discordant: "Discordant",
};

/** Tools, coloring and filters of the map. */
export class PlotToolbar {
  readonly element: HTMLElement;
  private readonly subscriptions: (() => void)[];

  constructor(controller: WorkspaceController) {
    const { filters, project, viewport } = controller;
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
      "data-testid": "color-by",
      onchange: () => controller.setColor(color.value as ColorMode),
    });
    color.append(...COLOR_MODES.map((mode) => el("option", { value: mode }, COLOR_NAMES[mode])));
    const show = el("select", {
      class: "input select input--small",
      id: "plot-filter",
      title: "Show on the map (F)",
      "data-testid": "filter",
      onchange: () => filters.setMode(show.value as FilterMode),
    });
    show.append(...FILTER_MODES.map((mode) => el("option", { value: mode }, FILTER_NAMES[mode])));
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
        output.textContent = `≥ ${percent(Number(confidence.value) / 255)}`;
      },
      onchange: () => filters.setMinConfidence(Number(confidence.value)),
    });
    const output = el("output", { class: "num plot__slider-value" }, "any");
    const reset = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small button--icon",
        title: "Show the whole map (R)",
        "aria-label": "Show the whole map",
        "data-testid": "reset-view",
        onclick: () => viewport.fit(),
      },
      icon(ICONS.fit),
    );
    const shown = el("span", { class: "toolbar__count num", "data-testid": "plot-count" });
    this.element = el(
      "div",
      { class: "toolbar", role: "toolbar", "aria-label": "Map" },
      el("div", { class: "button-group" }, lasso, pan),
      el("label", { class: "toolbar__field" }, el("span", { class: "toolbar__word" }, "Color"), color),
      el("label", { class: "toolbar__field" }, el("span", { class: "toolbar__word" }, "Show"), show),
      el("label", { class: "toolbar__field toolbar__field--slider" }, el("span", {}, "Confidence"), confidence, output),
      el("span", { class: "toolbar__space" }),
      shown,
      reset,
    );
    const showTool = () => {
      lasso.setAttribute("aria-pressed", String(controller.tool === "lasso"));
      pan.setAttribute("aria-pressed", String(controller.tool === "pan"));
    };
    const showFilters = () => {
      show.value = filters.mode;
      confidence.value = String(filters.minConfidence);
      output.textContent = filters.minConfidence === 0 ? "any" : `≥ ${percent(filters.minConfidence / 255)}`;
    };
    const showCount = () => {
      const n = project.plot?.n ?? 0;
      let visible = 0;
      for (let i = 0; i < n; i++) visible += project.hidden[i] === 0 ? 1 : 0;
      shown.textContent = n === 0 ? "" : visible === n ? count(n) : `${count(visible)} / ${count(n)}`;
      shown.title = "Points shown";
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
      filters.on("colors", showColor),
      project.on(["hidden", "embedding"], showCount),
    ];
  }

  destroy(): void {
    for (const end of this.subscriptions) end();
  }
}
