import { expect, it, vi } from "vitest";
import { HttpError, NetworkError } from "../api/http";
import { ActionQueue } from "./action-queue";

/** Lets everything that is ready run. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

interface Outcome {
  readonly log: string[];
}

function task(name: string, outcome: Outcome, answers: (() => unknown)[]) {
  return {
    clientKey: name,
    send: async () => {
      outcome.log.push(`send ${name}`);
      return answers.length > 1 ? answers.shift()!() : answers[0]!();
    },
    onSaved: () => outcome.log.push(`saved ${name}`),
    onRefused: () => outcome.log.push(`refused ${name}`),
  };
}

const ok = () => "ok";
const fails = (error: Error) => () => {
  throw error;
};

it("sends one after the other, in the order of the gestures", async () => {
  const outcome: Outcome = { log: [] };
  const queue = new ActionQueue();
  queue.add(task("a", outcome, [ok]));
  queue.add(task("b", outcome, [ok]));
  expect(queue.length).toBe(2);
  await settle();
  expect(outcome.log).toEqual(["send a", "saved a", "send b", "saved b"]);
  expect(queue.length).toBe(0);
});

it("tries again what did not get through, longer apart each time, and holds back what comes after it", async () => {
  const outcome: Outcome = { log: [] };
  const waits: number[] = [];
  const queue = new ActionQueue({
    wait: async (ms) => {
      waits.push(ms);
    },
  });
  queue.add(task("a", outcome, [fails(new NetworkError("gone")), fails(new HttpError(503, "busy")), ok]));
  queue.add(task("b", outcome, [ok]));
  await settle();
  expect(outcome.log).toEqual(["send a", "send a", "send a", "saved a", "send b", "saved b"]);
  expect(waits).toEqual([1000, 2000]);
  expect(queue.failing).toBe(false);
});

it("hands a refused one back and goes on", async () => {
  const outcome: Outcome = { log: [] };
  const queue = new ActionQueue();
  queue.add(task("a", outcome, [fails(new HttpError(403, "no"))]));
  queue.add(task("b", outcome, [ok]));
  await settle();
  expect(outcome.log).toEqual(["send a", "refused a", "send b", "saved b"]);
});

it("says so while it fails, and can be told to try now", async () => {
  const outcome: Outcome = { log: [] };
  const queue = new ActionQueue({ wait: () => new Promise(() => undefined) });
  queue.add(task("a", outcome, [fails(new NetworkError("gone")), ok]));
  await settle();
  expect(queue.failing).toBe(true);
  expect(queue.lastError).toBe("gone");
  queue.retryNow();
  await settle();
  expect(outcome.log).toEqual(["send a", "send a", "saved a"]);
  expect(queue.failing).toBe(false);
});

it("waits for a new sign-in when the session ended: nothing is lost", async () => {
  const outcome: Outcome = { log: [] };
  const queue = new ActionQueue({ wait: async () => undefined });
  const said: boolean[] = [];
  queue.on("status", () => said.push(queue.failing && queue.isSignedOut));
  queue.add(task("a", outcome, [fails(new HttpError(503, "busy")), fails(new HttpError(401, "signed out")), ok]));
  await settle();
  expect(outcome.log.at(-1)).toBe("saved a");
  expect(said, "said once it is the person's to mend, and no longer").toEqual([false, false, true, false]);
});

it("goes on with the next one where showing what became of one fails", async () => {
  const outcome: Outcome = { log: [] };
  const queue = new ActionQueue();
  const told = vi.spyOn(console, "error").mockImplementation(() => undefined);
  const broken = () => {
    throw new Error("a listener's fault");
  };
  queue.add({ ...task("a", outcome, [ok]), onSaved: broken });
  queue.add({ ...task("b", outcome, [fails(new HttpError(403, "no"))]), onRefused: broken });
  queue.add(task("c", outcome, [ok]));
  await settle();
  expect(outcome.log).toEqual(["send a", "send b", "send c", "saved c"]);
  expect(queue.length).toBe(0);
  expect(told).toHaveBeenCalledTimes(2);
  told.mockRestore();
});

it("lets somebody leave out the one gesture at which the server fails each time, and goes on", async () => {
  const outcome: Outcome = { log: [] };
  const queue = new ActionQueue({ wait: (ms) => (ms < 16_000 ? Promise.resolve() : new Promise(() => undefined)) });
  queue.leaveOutFirst(); // nothing is stuck
  queue.add(task("a", outcome, [fails(new HttpError(500, "a fault"))]));
  queue.add(task("b", outcome, [ok]));
  await settle();
  expect([queue.isStuck, queue.length]).toEqual([true, 2]);
  queue.leaveOutFirst();
  await settle();
  expect(outcome.log.slice(-3)).toEqual(["refused a", "send b", "saved b"]);
  expect([queue.isStuck, queue.failing, queue.length]).toEqual([false, false, 0]);
});
