/** fetch with the session's CSRF token and with errors that say whether trying again makes sense. */

export class HttpError extends Error {
  constructor(
    readonly status: number,
    readonly detail: string,
  ) {
    super(detail);
  }
}

/** The request may never have reached the server, or its answer was lost. */
export class NetworkError extends Error {}

/** 401: the session ended; after a new sign-in, in another tab, the same request passes. */
const RETRIABLE = new Set([401, 408, 425, 429, 500, 502, 503, 504]);

const SIGNED_OUT = "You have been signed out. Sign in again in another tab, then go on here.";
const SOMEBODY_ELSE =
  "Somebody else has signed in on this computer. Sign in as yourself in another tab, then go on here.";

export const isRetriable = (error: unknown): boolean =>
  error instanceof NetworkError || (error instanceof HttpError && RETRIABLE.has(error.status));

export function csrfToken(): string {
  const cookie = document.cookie.split("; ").find((part) => part.startsWith("csrftoken="));
  if (cookie !== undefined) return decodeURIComponent(cookie.slice("csrftoken=".length));
  return document.querySelector<HTMLInputElement>("input[name=csrfmiddlewaretoken]")?.value ?? "";
}

/** For whom this page was made: what is done on it is recorded under no other name. */
const pageUser = (): string | undefined => document.body.dataset["userId"];

/** What the body of a refused request says is wrong; "" where it says nothing. */
export function detailOfBody(text: string): string {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null) {
      if ("detail" in body) return String(body.detail);
      // What is wrong with one of the fields.
      const [first] = Object.values(body).flat();
      if (typeof first === "string") return first;
    }
  } catch {
    // not JSON: an error page of a proxy
  }
  return "";
}

/** Django REST framework answers 403, and not 401, to a session that ended or whose token changed with a new sign-in; large bodies are
 * refused before that. */
export const isSignedOut = (status: number, detail: string): boolean =>
  status === 403 && /credentials were not provided|CSRF Failed|sign in before/.test(detail);

async function detailOf(response: Response): Promise<string> {
  const detail = detailOfBody(await response.text().catch(() => ""));
  if (detail !== "") return detail;
  return response.statusText === "" ? `Error ${response.status}` : `${response.status} ${response.statusText}`;
}

export interface RequestOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

async function request(method: string, url: string, body: BodyInit | null, options: RequestOptions): Promise<Response> {
  const headers = new Headers({ Accept: "application/json, */*;q=0.5" });
  if (method !== "GET") headers.set("X-CSRFToken", csrfToken());
  const user = pageUser();
  if (user !== undefined) headers.set("X-PatchSorter-User", user);
  if (typeof body === "string") headers.set("Content-Type", "application/json");
  const signals = [AbortSignal.timeout(options.timeoutMs ?? 60_000)];
  if (options.signal !== undefined) signals.push(options.signal);
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers,
      body,
      credentials: "same-origin",
      signal: AbortSignal.any(signals),
    });
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    throw new NetworkError(error instanceof Error ? error.message : "No answer");
  }
  if (response.redirected && new URL(response.url).pathname !== new URL(url, location.href).pathname) {
    throw new HttpError(401, SIGNED_OUT);
  }
  if (response.ok) return response;
  const detail = await detailOf(response);
  if (response.status === 403 && detail === "Somebody else has signed in.") throw new HttpError(401, SOMEBODY_ELSE);
  throw isSignedOut(response.status, detail) ? new HttpError(401, SIGNED_OUT) : new HttpError(response.status, detail);
}

async function read<T>(response: Response, reader: (response: Response) => Promise<T>): Promise<T> {
  try {
    return await reader(response);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new NetworkError("The answer was cut off");
  }
}

export async function getJson<T>(url: string, options: RequestOptions = {}): Promise<T> {
  return read(await request("GET", url, null, options), (r) => r.json() as Promise<T>);
}

export async function getBuffer(url: string, options: RequestOptions = {}): Promise<ArrayBuffer> {
  return read(await request("GET", url, null, options), (r) => r.arrayBuffer());
}

export async function postJson<T>(url: string, body: unknown, options: RequestOptions = {}): Promise<T> {
  return read(await request("POST", url, JSON.stringify(body), options), (r) => r.json() as Promise<T>);
}

export async function postForm<T>(url: string, form: FormData, options: RequestOptions = {}): Promise<T> {
  return read(await request("POST", url, form, options), (r) => r.json() as Promise<T>);
}

export async function postFormForBlob(url: string, form: FormData, options: RequestOptions = {}): Promise<Blob> {
  return read(await request("POST", url, form, options), (r) => r.blob());
}

export async function postFormForBuffer(
  url: string,
  form: FormData,
  options: RequestOptions = {},
): Promise<ArrayBuffer> {
  return read(await request("POST", url, form, options), (r) => r.arrayBuffer());
}

/** Ordinals as one binary part: uint32, little-endian. */
export function ordinalsPart(ordinals: Uint32Array): Blob {
  return new Blob([ordinals.slice().buffer], { type: "application/octet-stream" });
}

/** Names one gesture, so that the server carries it out once however often the request arrives. crypto.randomUUID exists in
 * secure contexts only; a department's server may be plain http. */
export function newClientKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
