import { expect, it, vi } from "vitest";
import type { Job, JobState } from "../api/types";
import { spaced, topicsOfEvents } from "../pages/live";
import { parseEvent } from "./events";
import { reconnectDelay } from "./socket";

it("reads known events and passes over everything else", () => {
  expect(parseEvent('{"type":"embedding.ready","number":3,"n":10}')).toEqual({
    type: "embedding.ready",
    number: 3,
    n: 10,
  });
  expect(parseEvent('{"type":"something.new"}')).toBeNull();
  expect(parseEvent("not json")).toBeNull();
  expect(parseEvent("null")).toBeNull();
  expect(parseEvent(new ArrayBuffer(2))).toBeNull();
});

it("reconnects ever later, never later than 15 seconds, never at once", () => {
  expect(reconnectDelay(0, () => 1)).toBe(500);
  expect(reconnectDelay(3, () => 0)).toBe(2000);
  expect(reconnectDelay(40, () => 1)).toBe(15_000);
});

it("spaces events out and never drops the last one", () => {
  vi.useFakeTimers();
  const sent: string[] = [];
  const send = spaced((topic) => sent.push(topic));
  send("jobs");
  send("jobs");
  send("jobs");
  send("embedding");
  expect(sent).toEqual(["jobs", "embedding"]);
  vi.advanceTimersByTime(1200);
  expect(sent).toEqual(["jobs", "embedding", "jobs"]);
  vi.advanceTimersByTime(5000);
  expect(sent).toHaveLength(3);
  vi.useRealTimers();
});

it("tells a job that begins or ends from one that goes on", () => {
  const topicsOf = topicsOfEvents();
  const told = (type: "job.progress" | "job.finished", id: number, state: JobState) =>
    topicsOf({ type, job: { id, state } as Job });
  expect(told("job.progress", 1, "queued")).toEqual(["jobs", "job-states"]);
  expect(told("job.progress", 1, "running")).toEqual(["jobs", "job-states"]);
  expect(told("job.progress", 1, "running")).toEqual(["jobs"]);
  expect(told("job.progress", 2, "running")).toEqual(["jobs", "job-states"]);
  expect(told("job.finished", 1, "finished")).toEqual(["jobs", "job-states"]);
  expect(topicsOf({ type: "objects.added", n_objects: 3 })).toEqual(["objects"]);
});
