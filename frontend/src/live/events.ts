import type { Job, PredictionsInfo } from "../api/types";

/** What the server says on a project's socket: numbers, not data. */
export type ProjectEvent =
  | { readonly type: "job.progress"; readonly job: Job }
  | { readonly type: "job.finished"; readonly job: Job }
  | { readonly type: "embedding.ready"; readonly number: number; readonly n: number }
  | { readonly type: "embedding.preview"; readonly job: number; readonly step: number; readonly n: number }
  | ({ readonly type: "predictions.ready" } & PredictionsInfo)
  | { readonly type: "labels.changed"; readonly label_set: number; readonly revision: number; readonly n: number }
  | { readonly type: "presence"; readonly users: readonly { readonly id: number; readonly name: string }[] }
  | { readonly type: "objects.added"; readonly n_objects: number }
  | { readonly type: "project.changed" };

const TYPES: ReadonlySet<string> = new Set([
  "job.progress",
  "job.finished",
  "embedding.ready",
  "embedding.preview",
  "predictions.ready",
  "labels.changed",
  "presence",
  "objects.added",
  "project.changed",
] satisfies ProjectEvent["type"][]);

/** The event in a frame, or null for anything unknown: a newer server may say more than this page understands. */
export function parseEvent(frame: unknown): ProjectEvent | null {
  if (typeof frame !== "string") return null;
  try {
    const body: unknown = JSON.parse(frame);
    if (typeof body !== "object" || body === null || !("type" in body)) return null;
    return TYPES.has(String(body.type)) ? (body as ProjectEvent) : null;
  } catch {
    return null;
  }
}
