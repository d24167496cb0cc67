import { ATLAS_COLUMNS, fetchAtlas, type PatchView } from "../../../api/objects";

/** One patch inside a decoded atlas. */
export interface Tile {
  readonly bitmap: ImageBitmap;
  readonly x: number;
  readonly y: number;
  readonly size: number;
}

interface Atlas {
  readonly ordinals: Uint32Array;
  bitmap: ImageBitmap;
  readonly pixels: number;
}

/** Decoded pixels kept: 48 million are 192 MB. */
const PIXEL_BUDGET = 48_000_000;
const LARGEST_REQUEST = 256;
const PARALLEL = 3;
const RETRY_MS = 2500;

/** How every tile is made. */
export interface TileSetup {
  readonly tilePx: number;
  readonly view: PatchView;
  readonly outline: boolean;
}

export type FetchAtlas = (ordinals: Uint32Array, setup: TileSetup, signal: AbortSignal) => Promise<Blob>;

/** Patches by ordinal, fetched as atlases and dropped least recently used first. One setup at a time. */
export class AtlasCache {
  private tiles = new Map<number, { readonly atlas: Atlas; readonly index: number }>();
  /** In the order of their last use, oldest first. */
  private readonly atlases = new Set<Atlas>();
  private pixels = 0;
  private readonly loading = new Set<number>();
  private readonly running = new Set<AbortController>();
  /** Of requests that failed, until they may be sent again. */
  private readonly paused = new Set<AbortController>();
  private queue: Uint32Array[] = [];
  private setup: TileSetup = { tilePx: 0, view: "patch", outline: false };

  constructor(
    private readonly fetchPatches: FetchAtlas,
    private readonly onLoaded: () => void,
  ) {}

  static forProject(api: string, projectId: string, onLoaded: () => void): AtlasCache {
    return new AtlasCache(
      (ordinals, { tilePx, view, outline }, signal) =>
        fetchAtlas(api, projectId, ordinals, tilePx, view, outline, { signal }),
      onLoaded,
    );
  }

  destroy(): void {
    this.clear();
  }

  /** With another setup, what is held is of no more use. */
  configure(setup: TileSetup): void {
    const { tilePx, view, outline } = this.setup;
    if (setup.tilePx === tilePx && setup.view === view && setup.outline === outline) return;
    this.setup = setup;
    this.clear();
  }

  get(ordinal: number): Tile | null {
    const found = this.tiles.get(ordinal);
    if (found === undefined) return null;
    const { atlas, index } = found;
    const { tilePx } = this.setup;
    // Used again: to the end of the line.
    this.atlases.delete(atlas);
    this.atlases.add(atlas);
    return {
      bitmap: atlas.bitmap,
      x: (index % ATLAS_COLUMNS) * tilePx,
      y: Math.floor(index / ATLAS_COLUMNS) * tilePx,
      size: tilePx,
    };
  }

  /** Make sure that these are there or on their way. What waits from earlier calls is dropped: it scrolled past. */
  want(wanted: readonly Uint32Array[]): void {
    this.queue = [];
    for (const group of wanted) {
      const missing = group.filter((ordinal) => !this.tiles.has(ordinal) && !this.loading.has(ordinal));
      for (let k = 0; k < missing.length; k += LARGEST_REQUEST) {
        this.queue.push(missing.subarray(k, k + LARGEST_REQUEST));
      }
    }
    this.next();
  }

  private next(): void {
    while (this.running.size < PARALLEL && this.queue.length > 0) void this.load(this.queue.shift()!);
  }

  private async load(ordinals: Uint32Array): Promise<void> {
    const abort = new AbortController();
    this.running.add(abort);
    for (const ordinal of ordinals) this.loading.add(ordinal);
    try {
      const blob = await this.fetchPatches(ordinals, this.setup, abort.signal);
      const bitmap = await createImageBitmap(blob);
      if (abort.signal.aborted) {
        bitmap.close();
        return;
      }
      this.keep({ ordinals, bitmap, pixels: bitmap.width * bitmap.height });
    } catch {
      // Until then they count as on their way; drawing again asks again for what is missing.
      if (!abort.signal.aborted) await this.pause(abort);
    }
    if (abort.signal.aborted) return;
    this.running.delete(abort);
    for (const ordinal of ordinals) this.loading.delete(ordinal);
    this.onLoaded();
    this.next();
  }

  /** Others take the place of a request that failed. */
  private async pause(abort: AbortController): Promise<void> {
    this.running.delete(abort);
    this.paused.add(abort);
    this.next();
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    this.paused.delete(abort);
  }

  private keep(atlas: Atlas): void {
    atlas.ordinals.forEach((ordinal, index) => {
      this.tiles.set(ordinal, { atlas, index });
    });
    this.atlases.add(atlas);
    this.pixels += atlas.pixels;
    for (const oldest of this.atlases) {
      if (this.pixels <= PIXEL_BUDGET || oldest === atlas) break;
      this.drop(oldest);
    }
  }

  private drop(atlas: Atlas): void {
    this.atlases.delete(atlas);
    this.pixels -= atlas.pixels;
    for (const ordinal of atlas.ordinals) {
      if (this.tiles.get(ordinal)?.atlas === atlas) this.tiles.delete(ordinal);
    }
    atlas.bitmap.close();
  }

  private clear(): void {
    for (const abort of [...this.running, ...this.paused]) abort.abort();
    this.running.clear();
    this.paused.clear();
    this.loading.clear();
    this.queue = [];
    for (const atlas of this.atlases) atlas.bitmap.close();
    this.atlases.clear();
    this.tiles.clear();
    this.pixels = 0;
  }
}
