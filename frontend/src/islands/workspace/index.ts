import { el } from "../../lib/dom";
import { belongsToControl, belongsToField, type Command, commandFor, isCharacter } from "../../lib/keymap";
import { ordinalOfHash } from "../../lib/ordinal-hash";
import { watchActivity } from "../../state/activity";
import type { Island } from "../mount";
import { ContextPopup } from "./context-popup";
import { type WorkspaceConfig, WorkspaceController } from "./controller";
import { PatchGrid } from "./grid";
import { workspaceHandle } from "./handle";
import { WorkspaceHeader } from "./header";
import { HelpDialog } from "./help-dialog";
import { EmbeddingPlot } from "./plot";
import { QualityDialog } from "./quality-dialog";
import { SampleDialog } from "./sample-dialog";
import { SamplePanel } from "./sample-panel";
import { splitter } from "./splitter";
import { Toasts } from "./toasts";

function readConfig(element: HTMLElement): WorkspaceConfig {
  const { dataset } = element;
  const projectId = dataset["projectId"] ?? "";
  const projectUrl = dataset["projectUrl"] ?? `/projects/${projectId}/`;
  return {
    api: (dataset["api"] ?? "/api/v1").replace(/\/$/, ""),
    projectId,
    projectName: dataset["projectName"] ?? "Project",
    userId: dataset["userId"] ?? "",
    userName: dataset["userName"] ?? "",
    homeUrl: dataset["homeUrl"] ?? "/",
    projectUrl,
    imagesUrl: dataset["imagesUrl"] ?? `${projectUrl}images/`,
    jobsUrl: dataset["jobsUrl"] ?? `${projectUrl}jobs/`,
    imageId: dataset["imageId"] === undefined ? null : Number(dataset["imageId"]),
    ordinal: ordinalOfHash(window.location.hash),
  };
}

/** The labeling screen: puts the parts together and gives the keys to them. */
export class WorkspaceIsland implements Island {
  private readonly controller: WorkspaceController;
  private readonly header: WorkspaceHeader;
  private readonly plot: EmbeddingPlot;
  private readonly grid: PatchGrid;
  private readonly context: ContextPopup;
  private readonly toasts: Toasts;
  private readonly help: HelpDialog;
  private readonly quality: QualityDialog;
  private readonly sampleDialog: SampleDialog;
  private readonly samplePanel: SamplePanel;
  private byPointer = false;

  constructor(private readonly element: HTMLElement) {
    this.controller = new WorkspaceController(readConfig(element));
    this.help = new HelpDialog(this.controller);
    this.toasts = new Toasts(this.controller.notices);
    this.sampleDialog = new SampleDialog(this.controller);
    this.samplePanel = new SamplePanel(this.controller);
    this.context = new ContextPopup(this.controller);
    this.quality = new QualityDialog(this.controller);
    this.header = new WorkspaceHeader(this.controller, {
      onHelp: () => this.help.toggle(),
      onQuality: () => this.quality.open(),
    });
    const showContext = (ordinal: number, x: number, y: number) => this.context.open(ordinal, x, y);
    this.grid = new PatchGrid(this.controller, { onContext: showContext });
    this.plot = new EmbeddingPlot(this.controller, {
      onContext: showContext,
      onReveal: (ordinal) => void this.grid.reveal(ordinal),
    });
    const body = el("div", { class: "workspace__body" });
    body.append(
      this.plot.element,
      splitter(body, this.controller.preferences.split, (split) => this.controller.savePreferences({ split })),
      this.grid.element,
    );
    this.header.element.append(this.toasts.element);
    this.grid.addBanner(this.samplePanel.element);
    element.classList.add("workspace");
    element.replaceChildren(
      this.header.element,
      body,
      this.help.element,
      this.quality.element,
      this.sampleDialog.element,
    );
    watchActivity(this.controller.activity, this.controller.signal);
    document.addEventListener("keydown", this.keyDown);
    document.addEventListener("pointerdown", this.pointerUsed, { capture: true });
    element.addEventListener("click", this.giveKeysBack);
    element.addEventListener("change", this.giveKeysBack);
    window.patchsorter = workspaceHandle(this.controller, this.plot, this.grid);
    void this.controller.sync.start();
  }

  destroy(): void {
    document.removeEventListener("keydown", this.keyDown);
    document.removeEventListener("pointerdown", this.pointerUsed, { capture: true });
    this.element.removeEventListener("click", this.giveKeysBack);
    this.element.removeEventListener("change", this.giveKeysBack);
    delete window.patchsorter;
    this.header.destroy();
    this.quality.destroy();
    this.plot.destroy();
    this.grid.destroy();
    this.context.destroy();
    this.toasts.destroy();
    this.sampleDialog.destroy();
    this.samplePanel.destroy();
    this.controller.destroy();
    this.element.replaceChildren();
  }

  private readonly pointerUsed = (): void => {
    this.byPointer = true;
  };

  /** A control that was used by pointer does not keep the keyboard: Space, Enter and digits go to the patches again.
   * Who tabs through the controls keeps the focus. A list must not lose it on the click that opens it. */
  private readonly giveKeysBack = (event: Event): void => {
    if (!this.byPointer || !(event.target instanceof Element)) return;
    const control = event.target.closest<HTMLElement>(event.type === "click" ? "button" : "select, input[type=range]");
    if (control !== null && control.closest("dialog, .class-picker") === null) control.blur();
  };

  private readonly keyDown = (event: KeyboardEvent): void => {
    this.byPointer = false;
    if (event.key === "Escape" && event.target instanceof HTMLSelectElement) event.target.blur(); // keys are for patches again
    if (event.defaultPrevented || event.isComposing || belongsToField(event.target)) return;
    if (belongsToControl(event.target, event.key)) return;
    if (!this.controller.preferences.keysEverywhere && isCharacter(event) && !this.isAtWork(event.target)) return;
    const command = commandFor(event);
    if (command === null) return;
    // What a rectangle or a lasso selects is not meant before it is drawn, and what was selected before is not any more.
    if (this.controller.region.isSelecting && command.name !== "escape") {
      event.preventDefault();
      return;
    }
    // Held keys may move and scroll; they must not label twice.
    if (event.repeat && !["move", "larger", "smaller", "page-down", "page-up"].includes(command.name)) return;
    if (this.run(command)) event.preventDefault();
  };

  private isAtWork(target: EventTarget | null): boolean {
    return target instanceof Element && target.closest(".grid__scroller, .plot__stage") !== null;
  }

  /** Returns whether the key did something, and so must not scroll the page or search in it. */
  private run(command: Command): boolean {
    const { controller, grid } = this;
    const { selection, viewport } = controller;
    switch (command.name) {
      case "label": {
        const labelClass = controller.labeling.classForKey(command.digit);
        if (labelClass !== undefined) controller.labeling.label(labelClass.value);
        return true;
      }
      case "review": {
        const labelClass = controller.labeling.classForKey(command.digit);
        if (labelClass !== undefined) void controller.region.review(labelClass.value);
        return true;
      }
      case "remove":
        controller.labeling.label(null);
        return true;
      case "move":
        grid.moveCursor(command.dx, command.dy, command.extend);
        return true;
      case "toggle":
        if (!this.plot.hasPointer) grid.toggleCursor();
        return true;
      case "pick-all":
        controller.labeling.pickAll();
        return true;
      case "invert":
        controller.region.whenArranged(() => selection.invert());
        return true;
      case "undo":
        controller.region.whenArranged(() => controller.history.undo());
        return true;
      case "redo":
        controller.region.whenArranged(() => controller.history.redo());
        return true;
      case "context":
        this.toggleContext();
        return true;
      case "escape":
        this.escape();
        return true;
      case "lasso":
      case "pan":
        controller.setTool(command.name);
        return true;
      case "reset-view":
        viewport.fit();
        return true;
      case "train":
        void controller.jobs.train();
        return true;
      case "next-filter":
        controller.region.nextFilter();
        return true;
      case "next-color":
        controller.nextColor();
        return true;
      case "outline":
        controller.toggleOutline();
        return true;
      case "next-order":
        controller.region.nextOrder();
        return true;
      case "help":
        this.help.toggle();
        return true;
      case "confirm":
        controller.region.whenArranged(() => {
          if (!controller.labeling.confirm()) document.dispatchEvent(new CustomEvent("choose-class"));
        });
        return true;
      case "accept-sample":
        controller.sampling.goOn();
        return true;
      case "next-suggestion":
        void controller.next.take();
        return true;
      case "similar":
        void controller.similar.search(grid.currentOrdinal());
        return true;
      case "choose-class":
        document.dispatchEvent(new CustomEvent("choose-class"));
        return true;
      case "larger":
        grid.stepTile(1);
        return true;
      case "smaller":
        grid.stepTile(-1);
        return true;
      case "page-down":
      case "page-up":
        grid.page(command.name === "page-down" ? 1 : -1);
        return true;
      case "first":
      case "last":
        grid.toEnd(command.name === "last");
        return true;
      default:
        return command satisfies never;
    }
  }

  private toggleContext(): void {
    // Of a region that nobody has gone through yet, the first.
    const current = this.grid.currentOrdinal();
    const ordinal = current < 0 ? (this.controller.selection.order[0] ?? -1) : current;
    if (this.context.isOpen && (ordinal < 0 || ordinal === this.context.ordinal)) {
      this.context.close();
      return;
    }
    if (ordinal < 0) return;
    const tile = this.grid.tileToClient(ordinal);
    const point = this.plot.pointToClient(ordinal);
    const at = tile === null ? point : { x: tile.x + tile.size, y: tile.y };
    this.context.open(ordinal, at?.x ?? window.innerWidth / 2, at?.y ?? window.innerHeight / 2);
  }

  /** One step back at a time: what is open, what is being drawn, the picks, the region. In a sample, what is picked is marked
   * as wrong, and stays so for whoever comes back. */
  private escape(): void {
    if (this.context.isOpen) this.context.close();
    else if (this.plot.cancelGesture() || this.grid.cancelBand()) return;
    else if (this.controller.region.stopAsking() || this.controller.region.forgetWaiting()) return;
    else if (this.controller.selection.pickedCount > 0 && !this.controller.sampling.isShown)
      this.controller.selection.clearPicks();
    else if (this.controller.selection.isRegion) this.controller.region.showAll();
  }
}
