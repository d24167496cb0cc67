import { decodePlot, type PlotBuffer } from "../lib/wire";
import { getBuffer, getJson, type RequestOptions } from "./http";
import type { ProjectState } from "./types";

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
