import { expect, it } from "vitest";
import type { Proposal } from "../api/types";
import { SuggestionStore, titleOf } from "./suggestions";

const proposal = (kind: Proposal["kind"], classValue: number | null = null): Proposal => ({
  kind,
  n: 1,
  title: "",
  why: "",
  class_value: classValue,
  group: null,
  expected_right: null,
  n_sample: null,
});

it("remembers what was left out of a class, whichever page of that class it was on", () => {
  const store = new SuggestionStore();
  store.passOver(proposal("review", 1), [9, 3]);
  store.passOver(proposal("group", 1), [3, 5]);
  expect([...store.passed(proposal("review", 1))]).toEqual([3, 5, 9]);
  expect([...store.passed(proposal("review", 2))]).toEqual([]);
});

it("keeps nothing from a sample, and takes no patches behind its question for looked at", () => {
  const store = new SuggestionStore();
  const [sample, review] = [proposal("sample", 1), proposal("review", 1)];
  store.passOver(sample, [1]);
  expect([...store.passed(review)]).toEqual([]);
  store.passOver(review, [7]);
  expect([...store.passed(sample)]).toEqual([]);
});

it("begins a new round when asked to", () => {
  const store = new SuggestionStore();
  store.passOver(proposal("typical"), [1]);
  store.forgetPassed(proposal("typical"));
  expect([...store.passed(proposal("typical"))]).toEqual([]);
});

it("recommends the next where all of the first was passed over, and begins anew after the last", () => {
  const store = new SuggestionStore();
  const [first, second] = [proposal("review", 1), proposal("uncertain")];
  store.set({ proposals: [first, second], message: "" });
  store.passOver(first, [1]);
  store.exhaust(first);
  expect(store.recommended).toBe(second);
  store.exhaust(second);
  expect(store.recommended).toBe(first);
  expect([...store.passed(first)]).toEqual([]);
});

it("recommends the first", () => {
  const store = new SuggestionStore();
  expect(store.recommended).toBeUndefined();
  store.set({ proposals: [proposal("typical"), proposal("different")], message: "" });
  expect(store.recommended?.kind).toBe("typical");
  expect(store.isOld).toBe(false);
});

it("says no longer that a map is missing once there is one", () => {
  const store = new SuggestionStore();
  store.set({ proposals: [], message: "Suggestions come with the first map" });
  store.age();
  expect([store.status, store.isOld]).toEqual(["ready", true]);
  store.age(true);
  expect(store.status).toBe("loading");
  store.set({ proposals: [proposal("typical")], message: "" });
  store.age(true);
  expect(store.status, "what is proposed stays until the new map's are there").toBe("ready");
});

it("titles a page with the number of those that came", () => {
  const typical = { n: 36, title: "36 typical objects, one per group" } as Proposal;
  expect([36, 12, 60].map((came) => titleOf(typical, came))).toEqual([
    "36 typical objects, one per group",
    "12 of 36 typical objects, one per group",
    "60 typical objects, one per group",
  ]);
});

it("does not recommend again what nothing is left of, when labels elsewhere have made the list anew", () => {
  const store = new SuggestionStore();
  const page = (n: number) => ({ ...proposal("group"), class_value: 1, group: 4, n }) as Proposal;
  store.set({ proposals: [page(101), proposal("different")], message: "" });
  store.exhaust(store.recommended!);
  store.set({ proposals: [page(101), proposal("different")], message: "" });
  expect(store.recommended?.kind).toBe("different");
  store.set({ proposals: [page(102), proposal("different")], message: "" });
  expect(store.recommended?.kind).toBe("group");
});
