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

/** What predictions get right on labels that they were not made from. The measures are null where nothing can be held out. */
export interface Quality {
  readonly accuracy: number | null;
  /** Where the true one lies with 95 % confidence. */
  readonly accuracy_between: readonly [number, number] | null;
  readonly balanced_accuracy: number | null;
  readonly balanced_between: readonly [number, number] | null;
  /** Expected calibration error, 0 to 1. */
  readonly ece: number | null;
  readonly n_train: number;
  readonly n_held_out: number;
  /** As in `PredictionsInfo`; not of a model version that was measured by an earlier version. */
  readonly expected_right?: number | null;
  readonly few_images?: FewImages | null;
  readonly classifier_fault?: string | null;
  /** Class values: the order of the confusion matrix. */
  readonly classes: readonly number[];
  /** Row: the label; column: the prediction. */
  readonly confusion: readonly (readonly number[])[];
  /** Ten bins of confidence; those without a held-out label are left out. */
  readonly reliability: readonly ReliabilityBin[];
}

export interface ReliabilityBin {
  /** Mean confidence of the bin's held-out labels, 0 to 1. */
  readonly confidence: number;
  /** Share of them that is predicted rightly. */
  readonly right: number;
  readonly n: number;
}

/** The predictions that hold: renewed after every label action. */
export interface PredictionsInfo {
  readonly revision: number;
  readonly embedding: number;
  /** Of the last label action that they know of. */
  readonly label_revision: number;
  readonly n_labels: number;
  /** On labels that were held out; null where there are none. */
  readonly balanced_accuracy: number | null;
  readonly balanced_between: readonly [number, number] | null;
  readonly n_held_out: number;
  /** Whether enough labels were held out to say how good the predictions are. */
  readonly is_measured: boolean;
  /** The share of the objects without any label, 0 to 1, that the model expects to be right about; null where all have one,
   * and before it can be believed. */
  readonly expected_right: number | null;
  /** Where labels lie in few images, and most of what has none does not: what is predicted there is not known to be right. */
  readonly few_images: FewImages | null;
  /** Why the standard classifier predicts in place of the project's own, which another package brought. */
  readonly classifier_fault: string | null;
}

/** So many of all images have labels. */
export interface FewImages {
  readonly n_labeled: number;
  readonly n: number;
}

/** How good the predictions were when so many labels were known. */
export interface QualityAtLabels {
  readonly revision: number;
  readonly n_labels: number;
  readonly accuracy: number | null;
  readonly balanced_accuracy: number | null;
  readonly n_held_out: number | null;
}

export interface EmbeddingInfo {
  readonly number: number;
  readonly n: number;
  readonly model_version: number | string | null;
  readonly created_at: string;
  /** Whether known classes shaped the map: its clusters then show the labels, not only what the features say. */
  readonly shows_labels: boolean;
  /** The way it was drawn; principal components also where the project's own could not. */
  readonly drawn_by: string;
  /** How few neighbors on the map are strangers in the features, 1 = none; null where there are too few objects. */
  readonly trustworthiness: number | null;
  /** How far the middle object moved from the map before, as a share of its width; null for a first map. */
  readonly displacement: number | null;
}

export type JobState = "queued" | "running" | "finished" | "failed" | "cancelled";

export interface Job {
  readonly id: number | string;
  readonly kind: string;
  /** What it is called on the screen. */
  readonly title: string;
  readonly state: JobState;
  readonly stage: string | null;
  readonly progress: number | null;
  readonly message: string | null;
  readonly error: string | null;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  readonly requested_by: string | null;
  /** Whether somebody has asked it to end. */
  readonly cancel_requested: boolean;
}

/** What reads a picture that one searches with. */
export interface PictureJob extends Job {
  /** The side of the picture's middle, where it is much larger than a patch. */
  readonly shrunk_from_px: number | null;
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
  /** ISO 8601: when it was made; of an undo, when the gesture was made that it took back. */
  readonly at: string;
}

/** Labels by sample: whether this project allows them, and what is under way. */
export interface SampledState {
  readonly allowed: boolean;
  /** Share of wrong labels that a sample must exclude, 0..1. */
  readonly max_error: number;
  /** Patches that a sample shows first, however large the selection, where much the same was not sampled before. */
  readonly longest_first_look: number;
  /** The user's open sample, if there is one. */
  readonly open_sample: number | null;
}

export interface Sample {
  readonly id: number;
  readonly state: "open" | "accepted" | "refused" | "abandoned" | "expired";
  readonly class_value: number;
  /** In the order in which they are to be shown. */
  readonly ordinals: readonly number[];
  readonly marked: readonly number[];
  /** ISO 8601: when it was drawn. */
  readonly started_at: string;
  /** Why it can not be accepted whatever is in it, or an empty string. */
  readonly stale: string;
  readonly n: number;
  /** How many are to be looked at if none is wrong, if one is, ...; more wrong ones than it has places for are too many. */
  readonly sizes: readonly number[];
  /** Objects of the whole selection. */
  readonly size: number;
  readonly max_error: number;
  readonly confidence: number;
  readonly attempt: number;
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
  readonly embedding: EmbeddingInfo | null;
  readonly predictions: PredictionsInfo | null;
  readonly jobs: readonly Job[];
  readonly sampled: SampledState;
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
  readonly undo: UndoEntry | null;
  readonly redo: UndoEntry | null;
  readonly session: SessionRate | null;
}

/** Which page the server proposes to look at next, and why. */
export interface Proposal {
  readonly kind:
    | "typical"
    | "other_images"
    | "left_out"
    | "sample"
    | "doubtful"
    | "review"
    | "group"
    | "uncertain"
    | "different"
    | "discordant";
  readonly n: number;
  readonly title: string;
  readonly why: string;
  /** What the page is to be confirmed as, where the model has an opinion. */
  readonly class_value: number | null;
  readonly group: number | null;
  /** The share of the page, 0 to 1, that the model expects to be of the class. */
  readonly expected_right: number | null;
  /** How many of a stratum a sample would show. */
  readonly n_sample: number | null;
}

export interface Suggestions {
  /** The recommended one first. */
  readonly proposals: readonly Proposal[];
  /** What is so where there is nothing left to propose, or nothing yet. */
  readonly message: string;
}

export interface ObjectDetail {
  readonly ordinal: number;
  /** Its number in the instance mask, as in objects.csv. */
  readonly label_id: number;
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
    /** null: no person, a command on the server. */
    readonly by: string | null;
    readonly at: string;
    readonly provenance: string;
    /** Whether the patch was on the screen of who labeled it; null where nobody knows. */
    readonly on_screen: boolean | null;
    /** Where nobody saw the patch: n of size objects were looked at, of which some were wrong, and the share of wrong ones in all
     * is at most bound. */
    readonly sample: {
      readonly n: number;
      readonly wrong: number;
      readonly size: number;
      readonly bound: number;
      readonly confidence: number;
    } | null;
  } | null;
}

export const isActive = (job: Job): boolean => job.state === "queued" || job.state === "running";
