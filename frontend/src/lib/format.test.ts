import { expect, it } from "vitest";
import { ago, bytes, count, percentDone, plural, share } from "./format";

it("groups thousands and forms plurals", () => {
  expect(count(1204567)).toBe("1,204,567");
  expect(plural(1, "object")).toBe("1 object");
  expect(plural(1204, "object")).toBe("1,204 objects");
});

it("never says all before all is done, nor none after a first one", () => {
  expect(percentDone(0, 0)).toBe("0%");
  expect(percentDone(1, 1_000_000)).toBe("<1%");
  expect(percentDone(999_999, 1_000_000)).toBe("99%");
  expect(percentDone(5, 5)).toBe("100%");
});

it("writes small shares as exactly as they matter", () => {
  expect([share(0.02), share(0.005), share(0.98751), share(0.07)]).toEqual(["2%", "0.5%", "98.75%", "7%"]);
});

it("writes sizes and ages for people", () => {
  expect(bytes(999)).toBe("999 B");
  expect(bytes(1_950_000)).toBe("1.9 MB");
  const now = Date.parse("2026-01-01T12:00:00Z");
  expect(ago("2026-01-01T11:59:50Z", now)).toBe("just now");
  expect(ago("2026-01-01T11:30:00Z", now)).toBe("30 min ago");
  expect(ago("2025-12-31T12:00:00Z", now)).toBe("1 day ago");
  expect(ago("not a date", now)).toBe("");
});
