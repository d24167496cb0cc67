import { decodePlot, decodePredictions, type PlotBuffer, type PredictionsBuffer } from "../lib/wire";
import { getBuffer, getJson, type RequestOptions } from "./http";
import type { LabelClass, ProjectState, Quality, QualityAtLabels } from "./types";

export const fetchState = (api: string, projectId: string, options: RequestOptions = {}): Promise<ProjectState> =>
  getJson(`${api}/projects/${projectId}/state`, options);

export async function fetchPlot(
  api: string,
  projectId: string,
  embedding: number,
  options: RequestOptions = {},
): Promise<PlotBuffer> {
  return decodePlot(await getBuffer(`${api}/projects/${projectId}/embeddings/${embedding}/plot`, options));
}

/** Where the points are while the layout of a job runs. */
export async function fetchPreview(
  api: string,
  projectId: string,
  job: number,
  options: RequestOptions = {},
): Promise<PlotBuffer> {
  return decodePlot(await getBuffer(`${api}/projects/${projectId}/jobs/${job}/preview`, options));
}

export async function fetchPredictions(
  api: string,
  projectId: string,
  options: RequestOptions = {},
): Promise<PredictionsBuffer> {
  return decodePredictions(await getBuffer(`${api}/projects/${projectId}/predictions`, options));
}

export interface QualityAnswer {
  /** null below two labeled classes: then nothing is predicted. */
  readonly quality: Quality | null;
  readonly n_labels: number;
  readonly classes: readonly Pick<LabelClass, "value" | "name" | "color">[];
  /** Of the current map, in the order of revisions. */
  readonly history: readonly QualityAtLabels[];
}

/** Of the predictions that hold, or of the last ones on the map `embedding`. */
export const fetchQuality = (
  api: string,
  projectId: string,
  embedding?: string,
  options: RequestOptions = {},
): Promise<QualityAnswer> =>
  getJson(
    `${api}/projects/${projectId}/${embedding === undefined ? "predictions" : `embeddings/${embedding}`}/quality`,
    options,
  );
