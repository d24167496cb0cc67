import type { Polygon } from "../../lib/geometry";
import type { WorkspaceController } from "./controller";
import type { PatchGrid } from "./grid";
import type { EmbeddingPlot } from "./plot";

/** What tests and scripts may do with the open page, as `window.patchsorter`. Same paths as the pointer's and the keys'. */
export interface WorkspaceHandle {
  /** True once state, labels and (where there is one) the map are loaded. */
  readonly ready: boolean;
  /** Number of the map on the screen, or null. */
  embeddingNumber(): number | null;
  /** True while the points move to their places on a new map. */
  isMoving(): boolean;
  nObjects(): number;
  /** The region in display order, and what is picked of it. */
  selection(): { source: string; ordinals: number[]; picked: number[] };
  /** Class value per ordinal as shown, 0 = unlabeled. */
  labels(): number[];
  labelOf(ordinal: number): number;
  /** Class value per ordinal of the newest map, 0 = no prediction. */
  predictions(): number[];
  /** Draws a lasso. @param polygon in data coordinates; resolves when the region is shown */
  lasso(polygon: [number, number][], op?: "new" | "add" | "subtract"): Promise<number>;
  /** Makes these objects the region. */
  select(ordinals: number[]): Promise<number>;
  showAll(): void;
  pick(ordinals: number[]): void;
  /** Data coordinates of an object, or null. */
  dataPoint(ordinal: number): [number, number] | null;
  /** x0, y0, width, height of the map in data coordinates. */
  bounds(): { x0: number; y0: number; width: number; height: number } | null;
  /** Where an object's point is in the window, for a real pointer. */
  plotPointToClient(ordinal: number): { x: number; y: number } | null;
  /** Where an object's tile is in the window, or null when it is scrolled away. */
  tileToClient(ordinal: number): { x: number; y: number; size: number } | null;
  /** Actions that the server has not confirmed yet. */
  unsaved(): number;
  /** True once the predictions on the screen know of the last label there, and what is suggested follows from both. */
  isSettled(): boolean;
  revision(): number;
}

declare global {
  interface Window {
    patchsorter?: WorkspaceHandle;
  }
}

export function workspaceHandle(
  controller: WorkspaceController,
  plot: EmbeddingPlot,
  grid: PatchGrid,
): WorkspaceHandle {
  const { project, labels, selection, queue } = controller;
  return {
    get ready() {
      const mapLoaded = project.embedding === null || project.plot !== null;
      return project.status === "ready" && mapLoaded && (selection.size > 0 || project.nObjects === 0);
    },
    embeddingNumber: () => project.plotNumber,
    isMoving: () => plot.isMoving,
    nObjects: () => project.nObjects,
    selection: () => ({
      source: selection.source,
      ordinals: Array.from(selection.order),
      picked: Array.from(selection.picks()),
    }),
    labels: () => Array.from(labels.shown),
    labelOf: (ordinal) => labels.shown[ordinal] ?? 0,
    predictions: () => Array.from(project.predictions),
    lasso: async (polygon: Polygon, op = "new") => {
      await controller.region.lasso(polygon, op);
      return selection.size;
    },
    select: async (ordinals) => {
      await controller.region.selectOrdinals(ordinals);
      return selection.size;
    },
    showAll: () => controller.region.showAll(),
    pick: (ordinals) => selection.pickOrdinals(ordinals),
    dataPoint: (ordinal) => {
      const place = plot.dataPlace(ordinal);
      return place === null ? null : [place[0], place[1]];
    },
    bounds: () => (project.plot === null ? null : { ...project.plot.bounds }),
    plotPointToClient: (ordinal) => plot.pointToClient(ordinal),
    tileToClient: (ordinal) => grid.tileToClient(ordinal),
    unsaved: () => queue.length,
    isSettled: () => {
      const { predictionsInfo: news, predictionsRevision } = project;
      const isKnown = news !== null && news.revision === predictionsRevision && news.label_revision >= labels.revision;
      return queue.length === 0 && isKnown && !controller.suggestions.isOld;
    },
    revision: () => labels.revision,
  };
}
