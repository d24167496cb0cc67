import { type ChangesBuffer, decodeChanges, decodeLabels, type LabelsBuffer } from "../lib/wire";
import { getBuffer, ordinalsPart, postForm, postJson, type RequestOptions } from "./http";
import type { ActionResult, LabelClass, UndoEntry } from "./types";

/** What a region of the grid is. */
export type SelectionSource =
  | "all"
  | "lasso"
  | "filter"
  | "review"
  | "suggested"
  | "similar"
  | "unplaced"
  | "image"
  | "undone"
  | "sample"
  | "quick_review"
  | "script";

/** How a selection came about: kept with the action, for the audit trail and for the study of efficiency. */
export interface SelectionContext {
  readonly source: SelectionSource;
  readonly polygon: readonly (readonly [number, number])[];
  readonly polygons: readonly { readonly op: string; readonly points: readonly (readonly [number, number])[] }[];
  readonly filters: { readonly mode: string; readonly classes: readonly number[]; readonly min_confidence: number };
  /** The name of the image whose objects, or some of them, are shown. */
  readonly image?: string | null;
  readonly order: string;
  /** Tiles of the selection that were on the screen with their pixels. */
  readonly shown: number;
  readonly seen: number;
  readonly size: number;
  readonly embedding: number | null;
  readonly review_class?: number;
  /** How many of the labeled ones were on the screen, and which, unless all were. */
  readonly on_screen?: { readonly n: number; readonly ordinals?: readonly number[] };
  /** Of a page that is confirmed: seen, and not of its class. */
  readonly left_out?: readonly number[];
  /** The proposal whose page this was. */
  readonly suggestion?: { readonly kind: string; readonly title: string; readonly group: number | null };
  /** What was searched with: the first of the objects, or a picture's job. */
  readonly similar_to?: { readonly ordinals: readonly number[] } | { readonly picture_job: number | string };
}

export interface LabelAction {
  readonly kind: "label" | "remove";
  readonly class_value: number | null;
  readonly provenance: "single" | "bulk";
  /** What others have labeled, perhaps while this was on its way, keeps its label. */
  readonly only_unlabeled: boolean;
  readonly selection: Pick<SelectionContext, "source"> & Partial<SelectionContext>;
  readonly client_key: string;
  /** Seconds of work since the gesture before: `Activity.take`. */
  readonly worked_s: number;
}

export async function fetchLabels(api: string, labelSet: number, options: RequestOptions = {}): Promise<LabelsBuffer> {
  return decodeLabels(await getBuffer(`${api}/label-sets/${labelSet}/classes`, options));
}

export async function fetchChanges(
  api: string,
  labelSet: number,
  since: number,
  options: RequestOptions = {},
): Promise<ChangesBuffer> {
  return decodeChanges(await getBuffer(`${api}/label-sets/${labelSet}/changes?since=${since}`, options));
}

export function postAction(
  api: string,
  labelSet: number,
  action: LabelAction,
  ordinals: Uint32Array,
): Promise<ActionResult> {
  const form = new FormData();
  form.set("action", JSON.stringify(action));
  form.set("ordinals", ordinalsPart(ordinals), "ordinals");
  return postForm(`${api}/label-sets/${labelSet}/actions`, form);
}

/** `actionId`: what is taken for the last gesture, or the last undo; where it is another one by now, nothing is done. */
export const postUndo = (
  api: string,
  labelSet: number,
  clientKey: string,
  actionId: UndoEntry["action_id"] | null,
  workedS: number,
): Promise<ActionResult> =>
  postJson(`${api}/label-sets/${labelSet}/undo`, { client_key: clientKey, action_id: actionId, worked_s: workedS });

export const postRedo = (
  api: string,
  labelSet: number,
  clientKey: string,
  actionId: UndoEntry["action_id"] | null,
  workedS: number,
): Promise<ActionResult> =>
  postJson(`${api}/label-sets/${labelSet}/redo`, { client_key: clientKey, action_id: actionId, worked_s: workedS });

/** One's quick review: which objects are still to be looked at, of `n` in all. */
export interface QuickReview {
  readonly label_set: number;
  readonly n: number;
  readonly ordinals: readonly number[];
  readonly classes: readonly LabelClass[];
}

export const takeUpQuickReview = (api: string, projectId: string, options: RequestOptions = {}): Promise<QuickReview> =>
  postJson(`${api}/projects/${projectId}/quick-review`, {}, options);
