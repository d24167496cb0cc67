import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Notice, NoticeStore, type NoticeTopic } from "./notices";

let notices: NoticeStore;
const notice = (topic: NoticeTopic, text: string, tone: Notice["tone"] = "plain"): Notice => ({ topic, text, tone });
const texts = () => notices.shown.map((n) => n.text);

beforeEach(() => {
  vi.useFakeTimers();
  notices = new NoticeStore();
});

afterEach(() => {
  vi.useRealTimers();
});

it("a newer message takes the place of the older one of its kind", () => {
  notices.show(notice("labels", "5 labeled"));
  notices.show(notice("hint", "Select patches first"));
  notices.show(notice("labels", "6 labeled"));
  expect(texts()).toEqual(["Select patches first", "6 labeled"]);
});

it("shows two at most, and drops an error last", () => {
  notices.show(notice("save", "Not saved", "danger"));
  notices.show(notice("hint", "Select patches first"));
  notices.show(notice("labels", "5 labeled"));
  expect(texts()).toEqual(["Not saved", "5 labeled"]);
});

it("each goes after four seconds, an error after eight", () => {
  notices.show(notice("save", "Not saved", "danger"));
  notices.show(notice("labels", "5 labeled"));
  vi.advanceTimersByTime(4000);
  expect(texts()).toEqual(["Not saved"]);
  vi.advanceTimersByTime(4000);
  expect(texts()).toEqual([]);
});

it("the clock of a replaced message does not end its successor", () => {
  notices.show(notice("labels", "5 labeled"));
  vi.advanceTimersByTime(3000);
  notices.show(notice("labels", "6 labeled"));
  vi.advanceTimersByTime(3000);
  expect(texts()).toEqual(["6 labeled"]);
});

it("stays while it is read", () => {
  const read = notice("labels", "5 labeled");
  notices.show(read);
  notices.hold(read);
  vi.advanceTimersByTime(60_000);
  expect(texts()).toEqual(["5 labeled"]);
  notices.release(read);
  vi.advanceTimersByTime(2000);
  expect(texts()).toEqual([]);
});

it("goes when what it was about is over", () => {
  notices.show(notice("hint", "Select patches first"));
  notices.show(notice("labels", "5 labeled"));
  notices.dismissTopic("hint");
  expect(texts()).toEqual(["5 labeled"]);
});
