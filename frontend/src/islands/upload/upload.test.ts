import { describe, expect, it } from "vitest";
import { guessRole } from "./roles";
import { type SendResult, Uploader } from "./uploader";

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
const file = (name: string) => ({ file: new File(["x".repeat(10)], name, { lastModified: 7 }), path: name });
const stored: SendResult = { status: 201, detail: "" };

describe("the role of a file", () => {
  it.each([
    ["train_6.png", "image"],
    ["train_6_mask.png", "mask"],
    ["train_6-mask.tif", "mask"],
    ["train_6.mask.png", "mask"],
    ["a_labels.tiff", "mask"],
    ["a_instances.png", "mask"],
    ["set/masks/train_6.png", "mask"],
    ["set/images/train_6.png", "image"],
    ["unmasked.png", "image"],
    ["points.csv", "csv"],
    ["set/values.csv", "values"],
  ])("%s is taken for %s", (name, role) => {
    expect(guessRole(name)).toBe(role);
  });
});

it("sends two at a time and says when all are done", async () => {
  let now = 0;
  let most = 0;
  let done = 0;
  const uploader = new Uploader({
    isOnline: () => true,
    send: async () => {
      most = Math.max(most, ++now);
      await settle();
      now--;
      return stored;
    },
  });
  uploader.on("done", () => done++);
  uploader.add([file("a.png"), file("b.png"), file("c.png"), file("a.png")]);
  expect(uploader.items).toHaveLength(3);
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(most).toBe(2);
  expect(done).toBe(1);
  expect(uploader.items.every((item) => item.state === "stored")).toBe(true);
});

it("retries three times, then waits to be resumed", async () => {
  let calls = 0;
  let answer: SendResult = { status: 503, detail: "busy" };
  const uploader = new Uploader({
    isOnline: () => true,
    wait: async () => undefined,
    send: async () => {
      calls++;
      return answer;
    },
  });
  uploader.add([file("a.png")]);
  await settle();
  expect(calls).toBe(4);
  expect(uploader.items[0]!.state).toBe("failed");
  answer = stored;
  uploader.resume();
  await settle();
  expect(uploader.items[0]!.state).toBe("stored");
});

it("does not send a refused file again, and goes on with the rest", async () => {
  const sent: string[] = [];
  const uploader = new Uploader({
    isOnline: () => true,
    send: async (item) => {
      sent.push(item.name);
      return item.name === "bad.png" ? { status: 400, detail: "bad.png: not an image" } : stored;
    },
  });
  uploader.add([file("bad.png"), file("good.png")]);
  await settle();
  expect(sent).toEqual(["bad.png", "good.png"]);
  expect(uploader.items.map((item) => item.state)).toEqual(["refused", "stored"]);
  expect(uploader.items[0]!.detail).toContain("not an image");
});

it("offline, a file goes back in line without using up its tries", async () => {
  let online = true;
  const uploader = new Uploader({
    isOnline: () => online,
    send: async () => {
      if (!online) return { status: 0, detail: "gone" };
      online = false;
      return { status: 0, detail: "gone" };
    },
  });
  uploader.add([file("a.png")]);
  await settle();
  expect(uploader.items[0]).toMatchObject({ state: "waiting", attempts: 0 });
});

it("sends a file again that somebody has taken out of the upload, and one that was corrected", async () => {
  let sent = 0;
  const send = async () => {
    sent++;
    return stored;
  };
  const uploader = new Uploader({ isOnline: () => true, send });
  uploader.add([file("a.png")]);
  await settle();
  uploader.add([file("a.png")]);
  await settle();
  expect(sent).toBe(1);
  uploader.filesWereRemoved();
  uploader.add([file("a.png")]);
  await settle();
  expect(sent).toBe(2);
  uploader.add([{ path: "a.png", file: new File(["y".repeat(10)], "a.png", { lastModified: 1 }) }]);
  await settle();
  expect(sent).toBe(3);
});

it("keeps what could not be sent because the session ended for whoever signs in again", async () => {
  let answer: SendResult = { status: 401, detail: "Sign in again" };
  const uploader = new Uploader({ isOnline: () => true, send: async () => answer });
  uploader.add([file("a.png")]);
  await settle();
  expect([uploader.items[0]!.state, uploader.items[0]!.attempts]).toEqual(["failed", 1]);
  answer = stored;
  uploader.resume();
  await settle();
  expect(uploader.items[0]!.state).toBe("stored");
});
