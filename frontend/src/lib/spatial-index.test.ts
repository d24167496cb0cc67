import { describe, expect, it } from "vitest";
import { windingContains } from "./geometry";
import { SpatialIndex } from "./spatial-index";

/** A seeded generator (mulberry32): the same points in every run. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function randomPoints(n: number, seed: number): Uint16Array {
  const random = generator(seed);
  return Uint16Array.from({ length: 2 * n }, () => Math.floor(random() * 65536));
}

function brute(positions: Uint16Array, polygon: Float64Array): number[] {
  const found: number[] = [];
  for (let i = 0; 2 * i < positions.length; i++) {
    if (windingContains(polygon, positions[2 * i]!, positions[2 * i + 1]!)) found.push(i);
  }
  return found;
}

describe("a lasso", () => {
  const positions = randomPoints(20_000, 1);
  const index = new SpatialIndex(positions);

  it.each([2, 3, 4, 5, 6, 7, 8, 9])(
    "finds exactly the points that a test of each one finds (wild polygon %i)",
    (seed) => {
      const random = generator(seed);
      const corners = 3 + Math.floor(random() * 40);
      const polygon = Float64Array.from({ length: 2 * corners }, () => random() * 80_000 - 7000);
      expect(Array.from(index.inPolygon(polygon))).toEqual(brute(positions, polygon));
    },
  );

  it("is exact for a smooth hand-drawn shape, too", () => {
    const polygon = Float64Array.from({ length: 400 }, (_, k) => {
      const angle = (Math.floor(k / 2) / 200) * 2 * Math.PI;
      const radius = 21_000 + 3000 * Math.sin(7 * angle);
      return 33_000 + radius * (k % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
    });
    const found = Array.from(index.inPolygon(polygon));
    expect(found.length).toBeGreaterThan(5000);
    expect(found).toEqual(brute(positions, polygon));
  });

  it("leaves out what the filters hide", () => {
    const hidden = new Uint8Array(20_000);
    for (let i = 0; i < hidden.length; i += 2) hidden[i] = 1;
    const everything = Float64Array.of(-1, -1, 70_000, -1, 70_000, 70_000, -1, 70_000);
    const found = index.inPolygon(everything, hidden);
    expect(found.length).toBe(10_000);
    expect(found.every((i) => i % 2 === 1)).toBe(true);
  });

  it("catches nothing beside the map or with two corners", () => {
    expect(index.inPolygon(Float64Array.of(-9, -9, -5, -9, -5, -5)).length).toBe(0);
    expect(index.inPolygon(Float64Array.of(0, 0, 65_535, 65_535)).length).toBe(0);
  });

  it("has no hole where it crosses itself the same way round", () => {
    const one = new SpatialIndex(Uint16Array.of(500, 500));
    const twiceAround = Float64Array.of(0, 0, 1000, 0, 1000, 1000, 0, 1000, 0, 0, 1000, 0, 1000, 1000, 0, 1000);
    expect(one.inPolygon(twiceAround).length).toBe(1);
  });
});

describe("the nearest point", () => {
  const index = new SpatialIndex(Uint16Array.of(100, 100, 130, 100, 60_000, 60_000));

  it("is found within the radius only", () => {
    expect(index.nearest(118, 100, 30, 30)).toBe(1);
    expect(index.nearest(118, 100, 10, 10)).toBe(-1);
    expect(index.nearest(59_000, 60_000, 2000, 2000)).toBe(2);
  });

  it("is never a hidden one", () => {
    expect(index.nearest(118, 100, 30, 30, Uint8Array.of(0, 1, 0))).toBe(0);
  });
});
