import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { AtlasCache, type FetchAtlas } from "./atlas-cache";

const SETUP = { tilePx: 64, view: "patch", outline: false } as const;
const page = (from: number) => Uint32Array.from({ length: 10 }, (_, i) => from + i);
const none = Promise.reject(new Error("damaged"));
none.catch(() => undefined);

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("createImageBitmap", () => Promise.resolve({ width: 640, height: 64, close: () => undefined }));
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function makeCache(answer: (first: number) => Promise<Blob>) {
  const asked: number[] = [];
  const fetchPatches: FetchAtlas = (ordinals) => {
    asked.push(ordinals[0]!);
    return answer(ordinals[0]!);
  };
  const cache = new AtlasCache(fetchPatches, () => undefined);
  cache.configure(SETUP);
  return { cache, asked };
}

it("asks for a failed atlas again after a while, and for others at once", async () => {
  const { cache, asked } = makeCache((first) => (first < 1000 ? none : Promise.resolve(new Blob())));
  const damaged = [page(0), page(100), page(200)];
  cache.want(damaged);
  await vi.advanceTimersByTimeAsync(100);
  cache.want([...damaged, page(1000)]);
  await vi.advanceTimersByTimeAsync(100);
  expect(asked).toEqual([0, 100, 200, 1000]);
  expect(cache.get(1000)).not.toBeNull();
  await vi.advanceTimersByTimeAsync(2500);
  cache.want(damaged);
  expect(asked).toEqual([0, 100, 200, 1000, 0, 100, 200]);
});

it("forgets what failed where tiles are made otherwise", async () => {
  const { cache, asked } = makeCache(() => none);
  cache.want([page(0)]);
  await vi.advanceTimersByTimeAsync(100);
  cache.configure({ ...SETUP, tilePx: 32 });
  cache.want([page(0)]);
  expect(asked).toEqual([0, 0]);
  await vi.advanceTimersByTimeAsync(2450); // when the first may be asked for again, the second may not
  cache.want([page(0)]);
  expect(asked).toEqual([0, 0]);
});
