import { describe, expect, it } from "vitest";
import {
  decodeChanges,
  decodeGroups,
  decodeImageObjects,
  decodeImages,
  decodeLabels,
  decodePlot,
  decodePredictions,
  decodeSimilar,
  WireError,
} from "./wire";

function body(magic: string, ...parts: ArrayBufferView[]): ArrayBuffer {
  const bytes = [
    new TextEncoder().encode(magic),
    ...parts.map((p) => new Uint8Array(p.buffer, p.byteOffset, p.byteLength)),
  ];
  const whole = new Uint8Array(bytes.reduce((n, b) => n + b.length, 0));
  let at = 0;
  for (const b of bytes) {
    whole.set(b, at);
    at += b.length;
  }
  return whole.buffer;
}

describe("the plot buffer", () => {
  const buffer = body(
    "PSE1",
    Uint32Array.of(2),
    Float32Array.of(-10, 5, 20, 40),
    Uint8Array.of(0x00, 0xff), // x high
    Uint8Array.of(0x00, 0xff), // x low
    Uint8Array.of(0x80, 0x00), // y high
    Uint8Array.of(0x01, 0x02), // y low
  );

  it("joins the high and low planes of the coordinates", () => {
    const plot = decodePlot(buffer);
    expect(plot.n).toBe(2);
    expect(plot.bounds).toEqual({ x0: -10, y0: 5, width: 20, height: 40 });
    expect(Array.from(plot.positions)).toEqual([0, 0x8001, 65535, 2]);
  });

  it("refuses a body that is cut off, or something else", () => {
    expect(() => decodePlot(buffer.slice(0, buffer.byteLength - 1))).toThrow(WireError);
    expect(() => decodePlot(body("PSL2", Uint32Array.of(0, 0, 0, 0, 0)))).toThrow(/Expected a PSE1/);
    expect(() => decodePlot(new ArrayBuffer(0))).toThrow(WireError);
  });
});

it("reads predictions with their revision and the embedding they are made from", () => {
  const buffer = body("PSP1", Uint32Array.of(2, 9, 4), Uint8Array.of(0, 3), Uint8Array.of(0, 200));
  const predicted = decodePredictions(buffer);
  expect([predicted.revision, predicted.embedding]).toEqual([9, 4]);
  expect(Array.from(predicted.classes)).toEqual([0, 3]);
  expect(Array.from(predicted.confidences)).toEqual([0, 200]);
  expect(() => decodePredictions(buffer.slice(0, 19))).toThrow(WireError);
});

it("reads the labels of a label set with their revision", () => {
  const labels = decodeLabels(body("PSL2", Uint32Array.of(3, 17), Uint8Array.of(0, 254, 1, 0b100)));
  expect(labels.revision).toBe(17);
  expect(Array.from(labels.classes)).toEqual([0, 254, 1]);
  expect(Array.from(labels.unseen)).toEqual([0, 0, 1]);
});

it("reads changes, also none", () => {
  const changes = decodeChanges(body("PSC2", Uint32Array.of(2, 9, 70_000, 4), Uint8Array.of(5, 0, 0b01)));
  expect(changes.revision).toBe(9);
  expect(Array.from(changes.ordinals)).toEqual([70_000, 4]);
  expect(Array.from(changes.classes)).toEqual([5, 0]);
  expect(Array.from(changes.unseen)).toEqual([1, 0]);
  expect(decodeChanges(body("PSC2", Uint32Array.of(0, 9))).ordinals.length).toBe(0);
});

it("reads the image of every object", () => {
  expect(Array.from(decodeImages(body("PSI1", Uint32Array.of(2, 41, 4_000_000_000))))).toEqual([41, 4_000_000_000]);
});

it("reads the group of every object, and the map whose features they are of", () => {
  const { embedding, groups } = decodeGroups(body("PSG1", Uint32Array.of(3, 7), Uint8Array.of(2, 0, 60)));
  expect([embedding, [...groups]]).toEqual([7, [2, 0, 60]]);
});

it("similar objects come with their similarities, nearest first", () => {
  const buffer = body("PSS1", Uint32Array.of(2, 7), Uint32Array.of(9, 3), Float32Array.of(1, 0.5));
  const { embedding, ordinals, similarities } = decodeSimilar(buffer);
  expect([embedding, [...ordinals], [...similarities]]).toEqual([7, [9, 3], [1, 0.5]]);
});

describe("the objects of an image", () => {
  const buffer = body(
    "PSO1",
    Uint32Array.of(2, 40),
    Uint32Array.of(100, 200), // top
    Uint32Array.of(10, 20), // left
    Uint32Array.of(3, 4), // corners
    Uint16Array.of(0, 0, 0, 5, 7, 5),
    Uint16Array.of(0, 0, 0, 8, 8, 8, 8, 0),
    Uint8Array.of(0, 2), // labels
    Uint8Array.of(1, 2), // predicted
    Uint8Array.of(128, 255),
  );

  it("places each outline in the image, column before row", () => {
    const objects = decodeImageObjects(buffer);
    expect(objects.firstOrdinal).toBe(40);
    expect(objects.outlines.map((outline) => [...outline])).toEqual([
      [10, 100, 15, 100, 15, 107],
      [20, 200, 28, 200, 28, 208, 20, 208],
    ]);
    expect([[...objects.labels], [...objects.predictions], [...objects.confidences]]).toEqual([
      [0, 2],
      [1, 2],
      [128, 255],
    ]);
  });

  it("is refused where it is cut off", () => {
    expect(() => decodeImageObjects(buffer.slice(0, buffer.byteLength - 1))).toThrow(WireError);
  });
});
