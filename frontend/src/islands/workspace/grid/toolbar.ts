import type { PatchView } from "../../../api/objects";
import { el, ICONS, icon } from "../../../lib/dom";
import { count } from "../../../lib/format";
import { GRID_ORDERS, type GridOrder } from "../../../state/order";
import { ClassPicker } from "../class-picker";
import type { WorkspaceController } from "../controller";

const ORDER_NAMES: Record<GridOrder, string> = {
  similarity: "Similarity",
  confidence: "Confidence",
  uncertain: "Most uncertain",
  image: "Image",
};

const TILE_SIZES: readonly number[] = [32, 48, 64, 96, 128];

/** What the toolbar may ask of the grid. */
interface GridControls {
  readonly tilePx: number;
  readonly view: PatchView;
  setTilePx(tilePx: number): void;
  setView(view: PatchView): void;
  readTheme(): void;
  redraw(): void;
}

/** Counts, selection commands, labeling, order and size. */
export class GridToolbar {
  readonly element: HTMLElement;
  /** Says what the region is, when it is not simply a lasso. */
  readonly banner: HTMLElement;
  private readonly subscriptions: (() => void)[];

  constructor(controller: WorkspaceController, grid: GridControls) {
    const { selection, project, queue } = controller;
    const command = (text: string, title: string, testId: string, run: () => void) =>
      el(
        "button",
        { type: "button", class: "button button--quiet button--small", title, "data-testid": testId, onclick: run },
        text,
      );
    const counted = el("div", {
      class: "toolbar__counts num",
      "aria-live": "polite",
      "data-testid": "selection-count",
    });
    const all = command("All", "Select all patches of the region (A)", "pick-all", () => selection.pickAll());
    const invert = command("Invert", "Invert the selection (I)", "pick-invert", () => selection.invert());
    const none = command("None", "Clear the selection (Esc)", "pick-none", () => selection.clearPicks());
    const picker = new ClassPicker(controller);
    const remove = command("Remove label", "Remove the labels of the selection (0)", "remove-label", () =>
      controller.label(null),
    );
    const step = (name: "undo" | "redo", title: string) =>
      el(
        "button",
        {
          type: "button",
          class: "button button--quiet button--small button--icon",
          title,
          "aria-label": title,
          "data-testid": name,
          onclick: () => controller[name](),
        },
        icon(ICONS[name]),
      );
    const undo = step("undo", "Undo (Z)");
    const redo = step("redo", "Redo (Shift Z)");
    const order = el("select", {
      class: "input select input--small",
      id: "grid-order",
      title: "Order of the patches (O)",
      "data-testid": "order",
      onchange: () => controller.setOrder(order.value as GridOrder),
    });
    order.append(...GRID_ORDERS.map((name) => el("option", { value: name }, ORDER_NAMES[name])));
    const size = el("input", {
      type: "range",
      class: "slider toolbar__slider",
      id: "grid-size",
      min: "0",
      max: String(TILE_SIZES.length - 1),
      step: "1",
      title: "Size of the patches (+ and −)",
      "aria-label": "Size of the patches",
      "data-testid": "tile-size",
      oninput: () => grid.setTilePx(TILE_SIZES[Number(size.value)]!),
    });
    const context = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small",
        title: "Show the surroundings instead of the patch in every tile",
        "aria-pressed": "false",
        "data-testid": "view-context",
        onclick: () => {
          const next: PatchView = grid.view === "patch" ? "context" : "patch";
          grid.setView(next);
          context.setAttribute("aria-pressed", String(next === "context"));
        },
      },
      "Context",
    );
    const letters = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small",
        title: "Show the key of the class on the patches",
        "aria-pressed": String(controller.preferences.letters),
        onclick: () => {
          controller.savePreferences({ letters: !controller.preferences.letters });
          letters.setAttribute("aria-pressed", String(controller.preferences.letters));
          grid.readTheme();
          grid.redraw();
        },
      },
      "Tags",
    );
    const outline = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small",
        title: "Show the outline of the object that is meant (B)",
        "data-testid": "outline",
        onclick: () => controller.toggleOutline(),
      },
      "Outline",
    );
    this.element = el(
      "div",
      { class: "toolbar toolbar--grid", role: "toolbar", "aria-label": "Patches" },
      el(
        "div",
        { class: "toolbar__row" },
        counted,
        el("div", { class: "toolbar__commands" }, all, invert, none),
        el("span", { class: "toolbar__space" }),
        picker.element,
        remove,
        el("div", { class: "toolbar__commands" }, undo, redo),
      ),
      el(
        "div",
        { class: "toolbar__row toolbar__row--view" },
        el("label", { class: "toolbar__field" }, el("span", {}, "Order"), order),
        el("span", { class: "toolbar__space" }),
        letters,
        outline,
        context,
        el("label", { class: "toolbar__field" }, el("span", {}, "Size"), size),
      ),
    );
    this.banner = el("div", { class: "grid__banner", hidden: true, "data-testid": "region-banner" });

    const showCounts = () => {
      const { size: total, pickedCount } = selection;
      counted.replaceChildren(el("strong", {}, count(pickedCount)), ` of ${count(total)} selected`);
      for (const button of [all, invert]) button.toggleAttribute("disabled", total === 0);
      none.toggleAttribute("disabled", pickedCount === 0);
      picker.setEnabled(project.canLabel && (pickedCount > 0 || selection.cursorByKeyboard));
      remove.toggleAttribute("disabled", !project.canLabel || (pickedCount === 0 && !selection.cursorByKeyboard));
    };
    const showSteps = () => {
      undo.toggleAttribute("disabled", !project.canLabel || (project.undo === null && queue.length === 0));
      redo.toggleAttribute("disabled", !project.canLabel || project.redo === null);
      undo.title = project.undo === null ? "Undo (Z)" : `Undo (Z): ${project.undo.text}`;
      redo.title = project.redo === null ? "Redo (Shift Z)" : `Redo (Shift Z): ${project.redo.text}`;
    };
    const showOrder = () => {
      order.value = controller.order;
      const used = controller.orderFor(selection.size);
      order.title =
        used === controller.order
          ? "Order of the patches (O)"
          : "Similarity needs a map and at most 20,000 patches: shown by image";
      const similarity = order.options[GRID_ORDERS.indexOf("similarity")]!;
      similarity.text =
        controller.order === "similarity" && used !== "similarity" ? "Image (no similarity)" : "Similarity";
      size.value = String(Math.max(0, TILE_SIZES.indexOf(grid.tilePx)));
    };
    const showBanner = () => {
      this.banner.hidden = selection.source === "lasso" || selection.source === "all";
      if (this.banner.hidden) return;
      const back = el(
        "button",
        { type: "button", class: "button button--quiet button--small", onclick: () => controller.showAll() },
        "Show all",
      );
      this.banner.replaceChildren(bannerText(controller), back);
    };
    const showOutline = () => outline.setAttribute("aria-pressed", String(controller.preferences.outline));
    showCounts();
    showSteps();
    showOrder();
    showBanner();
    showOutline();
    this.subscriptions = [
      selection.on(["region", "picks", "cursor"], showCounts),
      selection.on("region", () => {
        showOrder();
        showBanner();
      }),
      project.on(["session", "state"], () => {
        showSteps();
        showCounts();
      }),
      queue.on("status", showSteps),
      controller.on("order", showOrder),
      controller.on("outline", showOutline),
      () => picker.destroy(),
    ];
  }

  destroy(): void {
    for (const end of this.subscriptions) end();
  }
}

function bannerText(controller: WorkspaceController): HTMLElement {
  const { selection, project } = controller;
  if (selection.source === "review" && selection.reviewClass !== null) {
    const labelClass = project.classOf(selection.reviewClass);
    return el(
      "p",
      {},
      el("strong", {}, `Review ${labelClass?.name ?? selection.reviewClass}`),
      ", surest first: ",
      el("kbd", { class: "key" }, "A"),
      " selects all, a click leaves a wrong one out, ",
      el("kbd", { class: "key" }, labelClass?.key || "Enter"),
      " confirms the rest.",
    );
  }
  if (selection.source === "unplaced") {
    return el("p", {}, el("strong", {}, "Not on the map yet"), ": added after the newest map was made.");
  }
  return el("p", {}, el("strong", {}, `${count(selection.size)} objects`), " chosen by a script.");
}
