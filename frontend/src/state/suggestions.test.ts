import { expect, it } from "vitest";
import type { Proposal } from "../api/types";
import { SuggestionStore } from "./suggestions";

const proposal = (kind: Proposal["kind"], classValue: number | null = null): Proposal => ({
  kind,
  n: 1,
  title: "",
  why: "",
  class_value: classValue,
  group: null,
});

it("remembers what was left out of a class, whichever page of that class it was on", () => {
  const store = new SuggestionStore();
  store.passOver(proposal("review", 1), [9, 3]);
  store.passOver(proposal("group", 1), [3, 5]);
  expect([...store.passed(proposal("review", 1))]).toEqual([3, 5, 9]);
  expect([...store.passed(proposal("review", 2))]).toEqual([]);
});

it("begins a new round when asked to", () => {
  const store = new SuggestionStore();
  store.passOver(proposal("typical"), [1]);
  store.forgetPassed(proposal("typical"));
  expect([...store.passed(proposal("typical"))]).toEqual([]);
});

it("recommends the first", () => {
  const store = new SuggestionStore();
  expect(store.recommended).toBeUndefined();
  store.set({ proposals: [proposal("typical"), proposal("different")], message: "" });
  expect(store.recommended?.kind).toBe("typical");
  expect(store.isOld).toBe(false);
});
