import { getJson, ordinalsPart, postForm, postJson, type RequestOptions } from "./http";
import type { SelectionContext } from "./labels";
import type { ActionResult, Sample } from "./types";

/** Draws a random sample of the unlabeled ones of these objects, to accept all of them for one class. */
export function drawSample(
  api: string,
  labelSet: number,
  sample: { readonly class_value: number; readonly selection: SelectionContext; readonly client_key: string },
  ordinals: Uint32Array,
): Promise<Sample> {
  const form = new FormData();
  form.set("sample", JSON.stringify(sample));
  form.set("ordinals", ordinalsPart(ordinals), "ordinals");
  return postForm(`${api}/label-sets/${labelSet}/samples`, form);
}

export const fetchSample = (api: string, id: number, options: RequestOptions = {}): Promise<Sample> =>
  getJson(`${api}/samples/${id}`, options);

/** Marks sampled objects as wrong, and takes marks back; what is marked elsewhere stays, and is in the answer. */
export const postMarks = (
  api: string,
  id: number,
  marks: { readonly wrong: readonly number[]; readonly not_wrong: readonly number[] },
): Promise<Sample> => postJson(`${api}/samples/${id}/wrong`, marks);

/** Shows more of the selection. @param n how many there are then in all, as many as the wrong ones ask for */
export const lookAtMore = (api: string, id: number, n: number): Promise<Sample> =>
  postJson(`${api}/samples/${id}/more`, { n });

/** @param size the objects that the user was told will be labeled; seen: sampled patches that were on their screen */
export const acceptSample = (
  api: string,
  id: number,
  size: number,
  seen: number,
  workedS: number,
): Promise<ActionResult> => postJson(`${api}/samples/${id}/accept`, { size, seen, worked_s: workedS });

export const endSample = (api: string, id: number): Promise<Sample> => postJson(`${api}/samples/${id}/end`, {});
