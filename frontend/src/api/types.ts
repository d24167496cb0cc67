/** The JSON shapes of the API. */

export interface LabelClass {
  readonly value: number;
  readonly name: string;
  readonly color: string;
  /** The key that labels with it, or an empty string. */
  readonly key: string;
}

export interface LabelSet {
  readonly id: number;
  readonly name: string;
  readonly kind: string;
  readonly revision: number;
}

/** What the model gets right on labels that it was not trained on. */
export interface ModelQuality {
  readonly accuracy?: number | null;
  readonly balanced_accuracy?: number | null;
  readonly n_held_out?: number;
}

export interface EmbeddingInfo {
  readonly number: number;
  readonly n: number;
  readonly model_version: number | string | null;
  readonly quality: ModelQuality | null;
  readonly created_at: string;
}

export type JobState = "queued" | "running" | "finished" | "failed" | "cancelled";

export interface Job {
  readonly id: number | string;
  readonly kind: string;
  readonly state: JobState;
  readonly stage: string | null;
  readonly progress: number | null;
  readonly message: string | null;
  readonly error: string | null;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  readonly requested_by: string | null;
}

export interface SessionRate {
  readonly labels: number;
  readonly seconds: number;
  /** null until there is a stretch of time to divide by. */
  readonly labels_per_second: number | null;
}

export interface UndoEntry {
  readonly action_id: number | string;
  readonly text: string;
}

export interface ProjectState {
  readonly project: {
    readonly id: number;
    readonly name: string;
    readonly n_objects: number;
    readonly patch_size_px: number;
  };
  readonly classes: readonly LabelClass[];
  readonly label_set: LabelSet;
  readonly label_sets?: readonly LabelSet[];
  readonly embedding: EmbeddingInfo | null;
  readonly jobs: readonly Job[];
  readonly counts: Readonly<Record<string, number>>;
  readonly session: SessionRate | null;
  readonly permissions?: readonly string[];
  readonly undo: UndoEntry | null;
  readonly redo: UndoEntry | null;
}

export interface ActionResult {
  readonly action_id: number | string;
  readonly sequence: number;
  readonly revision: number;
  readonly n: number;
  readonly n_changed: number;
  readonly n_skipped?: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly undo: UndoEntry | null;
  readonly redo: UndoEntry | null;
  readonly session: SessionRate | null;
}

export interface ObjectDetail {
  readonly ordinal: number;
  readonly image: { readonly id: number; readonly name: string };
  readonly row: number;
  readonly column: number;
  readonly box: readonly [number, number, number, number];
  readonly area: number;
  readonly outline: readonly (readonly [number, number])[];
  readonly prediction: number | null;
  readonly confidence: number | null;
  readonly label: {
    readonly class_value: number;
    readonly by: string;
    readonly at: string;
    readonly provenance: string;
  } | null;
}

export const isActive = (job: Job): boolean => job.state === "queued" || job.state === "running";
