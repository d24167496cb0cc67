import type { SelectionSource } from "../../../api/labels";
import type { PatchView } from "../../../api/objects";
import { el, ICONS, icon } from "../../../lib/dom";
import { count } from "../../../lib/format";
import { GRID_ORDERS, type GridOrder } from "../../../state/order";
import { ClassPicker } from "../class-picker";
import type { WorkspaceController } from "../controller";
import { RegionBanner } from "./banner";
import { TILE_SIZES } from "./layout";

const ORDER_NAMES: Record<GridOrder, string> = {
  similarity: "Similarity",
  confidence: "Confidence",
  uncertain: "Most uncertain",
  image: "Image",
};

/** What the toolbar may ask of the grid. */
interface GridControls {
  readonly tilePx: number;
  readonly view: PatchView;
  setTilePx(tilePx: number): void;
  setView(view: PatchView): void;
  readTheme(): void;
  redraw(): void;
  currentOrdinal(): number;
}

/** Counts, selection commands, labeling, order and size. */
export class GridToolbar {
  readonly element: HTMLElement;
  /** Says what the region is, when it is not simply a lasso. */
  readonly banner: HTMLElement;
  private readonly subscriptions: (() => void)[];

  constructor(controller: WorkspaceController, grid: GridControls) {
    const { selection, project, queue, sampling } = controller;
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
    const all = command("All", "Select all patches of the region (A)", "pick-all", () => controller.labeling.pickAll());
    const invert = command("Invert", "Invert the selection (I)", "pick-invert", () =>
      controller.region.whenArranged(() => selection.invert()),
    );
    const none = command("None", "Clear the selection (Esc)", "pick-none", () => selection.clearPicks());
    const picker = new ClassPicker(controller);
    const remove = command("Remove label", "Remove the labels of the selection (0)", "remove-label", () =>
      controller.labeling.label(null),
    );
    const bySample = command(
      "By sample…",
      "Accept the selection as a whole after a look at a random sample of it",
      "by-sample",
      () => document.dispatchEvent(new CustomEvent("accept-by-sample")),
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
          onclick: () => controller.history[name](),
        },
        icon(ICONS[name]),
      );
    const undo = step("undo", "Undo (Z)");
    const redo = step("redo", "Redo (Shift Z)");
    const similar = command(
      "Similar",
      "Search for objects similar to the selected ones (S: on a page to confirm, to the one pointed at)",
      "similar",
      () => void controller.similar.search(selection.pickedCount > 0 ? -1 : grid.currentOrdinal()),
    );
    const file = el("input", {
      type: "file",
      accept: ".png,.jpg,.jpeg,.bmp,.tif,.tiff",
      hidden: true,
      "data-testid": "picture-file",
      onchange: () => {
        const [picture] = file.files ?? [];
        if (picture !== undefined) void controller.similar.searchWith(picture);
        file.value = "";
      },
    });
    const byPicture = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small button--icon",
        title: "Search with a picture: one object, in its middle, cut like the patches here",
        "aria-label": "Search with a picture",
        "data-testid": "search-picture",
        onclick: () => file.click(),
      },
      icon(ICONS.picture),
    );
    const order = el("select", {
      class: "input select input--small",
      id: "grid-order",
      title: "Order of the patches (O)",
      "data-testid": "order",
      onchange: () => controller.region.setOrder(order.value as GridOrder),
    });
    const given = el("option", { value: "given" }, "As found");
    order.append(given, ...GRID_ORDERS.map((name) => el("option", { value: name }, ORDER_NAMES[name])));
    const again = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small",
        title:
          "New predictions came: what you have not seen yet is in the new order. Sort the patches on the screen as well",
        hidden: true,
        "data-testid": "sort-again",
        onclick: () => controller.region.sortAgain(),
      },
      "Sort again",
    );
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
        el("div", { class: "toolbar__commands" }, similar, byPicture, file),
        el("span", { class: "toolbar__space" }),
        picker.element,
        remove,
        el("div", { class: "toolbar__commands" }, undo, redo),
      ),
      el(
        "div",
        { class: "toolbar__row toolbar__row--view" },
        el("label", { class: "toolbar__field" }, el("span", {}, "Order"), order),
        again,
        bySample,
        el("span", { class: "toolbar__space" }),
        letters,
        outline,
        context,
        el("label", { class: "toolbar__field" }, el("span", {}, "Size"), size),
      ),
    );
    const banner = new RegionBanner(controller);
    this.banner = banner.element;

    const showCounts = () => {
      const { size: total, pickedCount } = selection;
      // What a lasso caught is not selected yet, and "0 of 171 selected" would sound as if it had caught nothing.
      // Of a page that is reviewed only what was seen will be labeled: the banner counts it.
      if (pickedCount === 0 || (selection.isByException && !selection.held))
        counted.replaceChildren(el("strong", {}, count(total)), total === 1 ? " object" : " objects");
      else counted.replaceChildren(el("strong", {}, count(pickedCount)), ` of ${count(total)} selected`);
      for (const button of [all, invert]) button.toggleAttribute("disabled", total === 0);
      none.toggleAttribute("disabled", pickedCount === 0);
      const nothingToCompare = project.embedding === null;
      similar.toggleAttribute("disabled", nothingToCompare || (pickedCount === 0 && selection.cursor < 0));
      byPicture.toggleAttribute("disabled", nothingToCompare || !project.canLabel);
      bySample.hidden = !sampling.isAllowed;
      bySample.toggleAttribute("disabled", total === 0 || sampling.sample !== null || sampling.busy);
      picker.setEnabled(project.canLabel && (pickedCount > 0 || selection.cursorByKeyboard));
      remove.toggleAttribute("disabled", !project.canLabel || (pickedCount === 0 && !selection.cursorByKeyboard));
    };
    const showSteps = () => {
      const declines = sampling.isShown && sampling.isOlder(project.undo);
      undo.toggleAttribute(
        "disabled",
        !project.canLabel || ((project.undo === null || declines) && queue.length === 0),
      );
      redo.toggleAttribute("disabled", !project.canLabel || project.redo === null);
      undo.title = project.undo === null ? "Undo (Z)" : `Undo (Z): ${project.undo.text}`;
      redo.title = project.redo === null ? "Redo (Shift Z)" : `Redo (Shift Z): ${project.redo.text}`;
    };
    const showOrder = () => {
      again.hidden = !controller.region.orderIsOld;
      order.disabled = selection.source === "sample";
      const used = controller.region.orderFor(selection.size);
      given.hidden = used !== "given";
      const givenNames: Partial<Record<SelectionSource, string>> = { similar: "Nearest first", sample: "At random" };
      given.text = givenNames[selection.source] ?? "As suggested";
      order.value = used === "given" ? used : controller.region.order;
      order.title =
        used === controller.region.order || used === "given"
          ? "Order of the patches (O)"
          : "Similarity needs a map and at most 20,000 patches: shown by image";
      const similarity = order.options[1 + GRID_ORDERS.indexOf("similarity")]!;
      const why = project.plotNumber === null ? "no map yet" : "too many";
      const isOther = controller.region.order === "similarity" && used === "image" && selection.size > 2;
      similarity.text = isOther ? `Image (${why} for similarity)` : "Similarity";
      size.value = String(Math.max(0, TILE_SIZES.indexOf(grid.tilePx)));
    };
    const showOutline = () => outline.setAttribute("aria-pressed", String(controller.preferences.outline));
    showCounts();
    showSteps();
    showOrder();
    showOutline();
    this.subscriptions = [
      selection.on(["region", "rest", "picks", "cursor"], showCounts),
      selection.on("region", showOrder),
      project.on(["session", "state"], () => {
        showSteps();
        showCounts();
      }),
      queue.on("status", showSteps),
      sampling.on("sample", () => {
        showSteps();
        showCounts();
      }),
      controller.region.on("order", showOrder),
      controller.on("outline", showOutline),
      () => picker.destroy(),
      () => banner.destroy(),
    ];
  }

  destroy(): void {
    for (const end of this.subscriptions) end();
  }
}
