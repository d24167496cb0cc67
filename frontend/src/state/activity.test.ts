import { beforeEach, describe, expect, it } from "vitest";
import { Activity } from "./activity";

let now = 0;
let activity: Activity;

beforeEach(() => {
  now = 5000;
  activity = new Activity(() => now);
});

const pass = (seconds: number) => {
  now += seconds * 1000;
};

describe("the time that somebody is at work", () => {
  it("is the whole time of who moves a hand now and then, however long a page takes them", () => {
    for (let minute = 0; minute < 4; minute++) {
      pass(50);
      activity.sign();
    }
    expect(activity.take()).toBe(200);
    expect(activity.take()).toBe(0);
  });

  it("ends a minute after the last move of who went away", () => {
    activity.sign();
    pass(600);
    expect(activity.take()).toBe(60);
  });

  it("goes on with the next move, and what lay between is not made up for", () => {
    pass(600);
    activity.sign();
    pass(10);
    expect(activity.take()).toBe(70);
  });

  it("stands still while the page is out of sight", () => {
    pass(5);
    activity.tick(false);
    pass(30);
    activity.tick(true);
    pass(5);
    expect(activity.take()).toBe(10);
  });

  it("counts with no gesture twice", () => {
    pass(12);
    expect(activity.take()).toBe(12);
    pass(3);
    expect(activity.take()).toBe(3);
  });
});
