/** Decoders of the binary bodies. All numbers are little-endian, as is every machine that runs a browser today. */

export interface Bounds {
  readonly x0: number;
  readonly y0: number;
  readonly width: number;
  readonly height: number;
}

/** One embedding's plot. Every array's index is the object's ordinal. */
export interface PlotBuffer {
  readonly n: number;
  readonly bounds: Bounds;
  /** (2n) interleaved x, y as fractions of the bounds, 0..65535. */
  readonly positions: Uint16Array;
}

/** What is predicted of an embedding's objects, by ordinal. */
export interface PredictionsBuffer {
  readonly revision: number;
  /** Number of the embedding whose vectors they are made from. */
  readonly embedding: number;
  /** (n) class value, 0 = no prediction. */
  readonly classes: Uint8Array;
  /** (n) confidence of the prediction, 0..255. */
  readonly confidences: Uint8Array;
}

export interface LabelsBuffer {
  readonly revision: number;
  /** (n) class value per ordinal, 0 = unlabeled. */
  readonly classes: Uint8Array;
  /** (n) 1 = accepted by sample: nobody saw the patch. */
  readonly unseen: Uint8Array;
}

export interface ChangesBuffer {
  readonly revision: number;
  readonly ordinals: Uint32Array;
  readonly classes: Uint8Array;
  /** (k) 1 = accepted by sample: nobody saw the patch. */
  readonly unseen: Uint8Array;
}

/** The objects most similar to something, nearest first. */
export interface SimilarBuffer {
  /** Number of the embedding by whose vectors they are. */
  readonly embedding: number;
  readonly ordinals: Uint32Array;
  /** (k) cosine similarity, -1 to 1. */
  readonly similarities: Float32Array;
}

/** The objects of one image, in the order of their ordinals. */
export interface ImageObjectsBuffer {
  readonly firstOrdinal: number;
  /** Of each, its corners in pixels of the image, interleaved column, row. */
  readonly outlines: readonly Float64Array[];
  /** (n) class value, 0 = unlabeled. */
  readonly labels: Uint8Array;
  /** (n) class value, 0 = no prediction. */
  readonly predictions: Uint8Array;
  /** (n) confidence of the prediction, 0..255. */
  readonly confidences: Uint8Array;
}

export class WireError extends Error {}

function openBody(buffer: ArrayBuffer, magic: string, headerBytes: number): DataView {
  const view = new DataView(buffer);
  const found = buffer.byteLength >= 4 ? String.fromCharCode(...new Uint8Array(buffer, 0, 4)) : "";
  if (found !== magic || buffer.byteLength < headerBytes) {
    throw new WireError(`Expected a ${magic} body, got ${JSON.stringify(found)} of ${buffer.byteLength} bytes`);
  }
  return view;
}

function checkLength(buffer: ArrayBuffer, expected: number, magic: string): void {
  if (buffer.byteLength < expected) {
    throw new WireError(`The ${magic} body is cut off: ${buffer.byteLength} of ${expected} bytes`);
  }
}

export function decodePlot(buffer: ArrayBuffer): PlotBuffer {
  const view = openBody(buffer, "PSE1", 24);
  const n = view.getUint32(4, true);
  checkLength(buffer, 24 + 4 * n, "PSE1");
  const bounds: Bounds = {
    x0: view.getFloat32(8, true),
    y0: view.getFloat32(12, true),
    width: view.getFloat32(16, true),
    height: view.getFloat32(20, true),
  };
  const plane = (index: number) => new Uint8Array(buffer, 24 + index * n, n);
  const [xHigh, xLow, yHigh, yLow] = [plane(0), plane(1), plane(2), plane(3)];
  const positions = new Uint16Array(2 * n);
  for (let i = 0; i < n; i++) {
    positions[2 * i] = (xHigh[i]! << 8) | xLow[i]!;
    positions[2 * i + 1] = (yHigh[i]! << 8) | yLow[i]!;
  }
  return { n, bounds, positions };
}

export function decodePredictions(buffer: ArrayBuffer): PredictionsBuffer {
  const view = openBody(buffer, "PSP1", 16);
  const n = view.getUint32(4, true);
  checkLength(buffer, 16 + 2 * n, "PSP1");
  return {
    revision: view.getUint32(8, true),
    embedding: view.getUint32(12, true),
    classes: new Uint8Array(buffer, 16, n),
    confidences: new Uint8Array(buffer, 16 + n, n),
  };
}

export function decodeLabels(buffer: ArrayBuffer): LabelsBuffer {
  const view = openBody(buffer, "PSL2", 12);
  const n = view.getUint32(4, true);
  checkLength(buffer, 12 + n + Math.ceil(n / 8), "PSL2");
  return {
    revision: view.getUint32(8, true),
    classes: new Uint8Array(buffer, 12, n),
    unseen: unpackBits(buffer, 12 + n, n),
  };
}

export function decodeChanges(buffer: ArrayBuffer): ChangesBuffer {
  const view = openBody(buffer, "PSC2", 12);
  const k = view.getUint32(4, true);
  checkLength(buffer, 12 + 5 * k + Math.ceil(k / 8), "PSC2");
  return {
    revision: view.getUint32(8, true),
    ordinals: new Uint32Array(buffer, 12, k),
    classes: new Uint8Array(buffer, 12 + 4 * k, k),
    unseen: unpackBits(buffer, 12 + 5 * k, k),
  };
}

/** (n) bytes 0 or 1 from bits, the lowest first. */
function unpackBits(buffer: ArrayBuffer, offset: number, n: number): Uint8Array {
  const bits = new Uint8Array(buffer, offset, Math.ceil(n / 8));
  const flags = new Uint8Array(n);
  for (let i = 0; i < n; i++) flags[i] = (bits[i >> 3]! >> (i & 7)) & 1;
  return flags;
}

export function decodeSimilar(buffer: ArrayBuffer): SimilarBuffer {
  const view = openBody(buffer, "PSS1", 12);
  const k = view.getUint32(4, true);
  checkLength(buffer, 12 + 8 * k, "PSS1");
  return {
    embedding: view.getUint32(8, true),
    ordinals: new Uint32Array(buffer, 12, k),
    similarities: new Float32Array(buffer, 12 + 4 * k, k),
  };
}

/** (n) image id per ordinal. */
export function decodeImages(buffer: ArrayBuffer): Uint32Array {
  const view = openBody(buffer, "PSI1", 8);
  const n = view.getUint32(4, true);
  checkLength(buffer, 8 + 4 * n, "PSI1");
  return new Uint32Array(buffer, 8, n);
}

/** By ordinal, the group of similar objects that each object of an embedding is in, from 1; 0: in none. */
export interface GroupsBuffer {
  readonly embedding: number;
  readonly groups: Uint8Array;
}

export function decodeGroups(buffer: ArrayBuffer): GroupsBuffer {
  const view = openBody(buffer, "PSG1", 12);
  const n = view.getUint32(4, true);
  checkLength(buffer, 12 + n, "PSG1");
  return { embedding: view.getUint32(8, true), groups: new Uint8Array(buffer, 12, n) };
}

export function decodeImageObjects(buffer: ArrayBuffer): ImageObjectsBuffer {
  const view = openBody(buffer, "PSO1", 12);
  const n = view.getUint32(4, true);
  checkLength(buffer, 12 + 15 * n, "PSO1");
  const numbers = (index: number) => new Uint32Array(buffer, 12 + 4 * n * index, n);
  const [top, left, counts] = [numbers(0), numbers(1), numbers(2)];
  const nCorners = counts.reduce((sum, corners) => sum + corners, 0);
  checkLength(buffer, 12 + 15 * n + 4 * nCorners, "PSO1");
  const corners = new Uint16Array(buffer, 12 + 12 * n, 2 * nCorners);
  const outlines: Float64Array[] = [];
  let at = 0;
  for (let i = 0; i < n; i++) {
    const outline = new Float64Array(2 * counts[i]!);
    for (let j = 0; j < outline.length; j += 2) {
      outline[j] = left[i]! + corners[at + j + 1]!;
      outline[j + 1] = top[i]! + corners[at + j]!;
    }
    at += outline.length;
    outlines.push(outline);
  }
  const plane = (index: number) => new Uint8Array(buffer, 12 + 12 * n + 4 * nCorners + index * n, n);
  return {
    firstOrdinal: view.getUint32(8, true),
    outlines,
    labels: plane(0),
    predictions: plane(1),
    confidences: plane(2),
  };
}
