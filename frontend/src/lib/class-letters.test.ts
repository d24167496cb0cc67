import { expect, it } from "vitest";
import { lettersOf } from "./class-letters";

const classes = (...names: string[]) =>
  names.map((name, index) => ({ name, value: index + 1, key: index < 1 ? String(index + 1) : "" }));

it.each([
  [
    ["normal", "teardrop", "ring"],
    ["1", "T", "R"],
  ],
  [
    ["normal", "microcyte", "macrocyte"],
    ["1", "Mi", "Ma"],
  ],
  [
    ["normal", "Tumor cell", "tumor stroma", "mitosis"],
    ["1", "2", "3", "M"],
  ],
  [
    ["normal", "a", "ab"],
    ["1", "2", "Ab"],
  ],
  [
    ["normal", "νεκρό", "νέο"],
    ["1", "Νε", "Νέ"],
  ],
])("%j are told apart as %j", (names, letters) => {
  const all = classes(...names);
  expect(all.map((one) => lettersOf(one, all))).toEqual(letters);
});
