import {
  decodeGroups,
  decodeImageObjects,
  decodeImages,
  decodeSimilar,
  type GroupsBuffer,
  type ImageObjectsBuffer,
  type SimilarBuffer,
} from "../lib/wire";
import {
  getBuffer,
  getJson,
  ordinalsPart,
  postForm,
  postFormForBlob,
  postFormForBuffer,
  type RequestOptions,
} from "./http";
import type { Job, ObjectDetail, PictureJob } from "./types";

export type PatchView = "patch" | "context";

/** Tiles of one atlas stand row-major in this many columns (or fewer, when there are fewer tiles). */
export const ATLAS_COLUMNS = 32;

export function fetchAtlas(
  api: string,
  projectId: string,
  ordinals: Uint32Array,
  tilePx: number,
  view: PatchView,
  outline: boolean,
  options: RequestOptions = {},
): Promise<Blob> {
  const form = new FormData();
  form.set("ordinals", ordinalsPart(ordinals), "ordinals");
  form.set("tile_px", String(tilePx));
  form.set("view", view);
  form.set("outline", outline ? "1" : "0");
  return postFormForBlob(`${api}/projects/${projectId}/patches/atlas`, form, options);
}

export async function fetchOrder(
  api: string,
  projectId: string,
  ordinals: Uint32Array,
  order: string,
  options: RequestOptions = {},
): Promise<Uint32Array> {
  const form = new FormData();
  form.set("ordinals", ordinalsPart(ordinals), "ordinals");
  form.set("order", order);
  return new Uint32Array(await postFormForBuffer(`${api}/projects/${projectId}/objects/order`, form, options));
}

/** What to search with: the mean of objects, or the picture that a finished job has read. */
export type SimilarTo = { readonly ordinals: Uint32Array } | { readonly pictureJob: Job["id"] };

/** Among which objects to search, and how many to give. */
export interface SimilarAmong {
  readonly k: number;
  readonly unlabeled: boolean;
  readonly classValue: number | null;
}

export async function fetchSimilar(
  api: string,
  projectId: string,
  to: SimilarTo,
  among: SimilarAmong,
  options: RequestOptions = {},
): Promise<SimilarBuffer> {
  const form = new FormData();
  if ("ordinals" in to) form.set("ordinals", ordinalsPart(to.ordinals), "ordinals");
  else form.set("picture_job", String(to.pictureJob));
  form.set("k", String(among.k));
  form.set("unlabeled", String(among.unlabeled));
  if (among.classValue !== null) form.set("class_value", String(among.classValue));
  return decodeSimilar(await postFormForBuffer(`${api}/projects/${projectId}/objects/similar`, form, options));
}

/** Sends a picture of an object to search with; the job that reads it. */
export function postPicture(
  api: string,
  projectId: string,
  picture: File,
  options: RequestOptions = {},
): Promise<PictureJob> {
  const form = new FormData();
  form.set("picture", picture);
  return postForm(`${api}/projects/${projectId}/objects/similar/picture`, form, options);
}

export async function fetchImages(api: string, projectId: string, options: RequestOptions = {}): Promise<Uint32Array> {
  return decodeImages(await getBuffer(`${api}/projects/${projectId}/objects/images`, options));
}

export async function fetchGroups(api: string, projectId: string, options: RequestOptions = {}): Promise<GroupsBuffer> {
  return decodeGroups(await getBuffer(`${api}/projects/${projectId}/objects/groups`, options));
}

export async function fetchImageObjects(
  api: string,
  projectId: string,
  imageId: string,
  options: RequestOptions = {},
): Promise<ImageObjectsBuffer> {
  return decodeImageObjects(await getBuffer(`${api}/projects/${projectId}/images/${imageId}/objects`, options));
}

/** Names of the project's images by their id. */
export async function fetchImageNames(
  api: string,
  projectId: string,
  options: RequestOptions = {},
): Promise<ReadonlyMap<number, string>> {
  const { images } = await getJson<{ images: { id: number; name: string }[] }>(
    `${api}/projects/${projectId}/images`,
    options,
  );
  return new Map(images.map(({ id, name }) => [id, name]));
}

export const fetchObject = (
  api: string,
  projectId: string,
  ordinal: number,
  options: RequestOptions = {},
): Promise<ObjectDetail> => getJson(`${api}/projects/${projectId}/objects/${ordinal}`, options);

export const patchUrl = (
  api: string,
  projectId: string,
  ordinal: number,
  view: PatchView,
  px: number,
  outline: boolean,
): string => `${api}/projects/${projectId}/patches/${ordinal}.jpg?view=${view}&outline=${outline ? 1 : 0}&px=${px}`;
