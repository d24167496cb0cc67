import { getJson, postJson, type RequestOptions } from "./http";
import type { Job } from "./types";

export async function fetchJobs(api: string, projectId: string, options: RequestOptions = {}): Promise<readonly Job[]> {
  const body = await getJson<readonly Job[] | { readonly jobs: readonly Job[] }>(
    `${api}/projects/${projectId}/jobs`,
    options,
  );
  return "jobs" in body ? body.jobs : body;
}

export const fetchJob = (api: string, jobId: string, options: RequestOptions = {}): Promise<Job> =>
  getJson(`${api}/jobs/${jobId}`, options);

export const startIteration = (api: string, projectId: string): Promise<Job> =>
  postJson(`${api}/projects/${projectId}/jobs`, { kind: "iteration", params: { train: true } });

export const cancelJob = (api: string, jobId: number | string): Promise<unknown> =>
  postJson(`${api}/jobs/${jobId}/cancel`, {});
