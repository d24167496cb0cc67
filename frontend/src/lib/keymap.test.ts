import { describe, expect, it } from "vitest";
import { commandFor, HELP, isCharacter, type KeyPress } from "./keymap";

const press = (key: string, more: Partial<KeyPress> = {}): KeyPress => ({
  key,
  code: /^[0-9]$/.test(key) ? `Digit${key}` : `Key${key.toUpperCase()}`,
  shiftKey: false,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  ...more,
});

describe("digits", () => {
  it("label by 1 to 9 and remove by 0, also on the number pad", () => {
    expect(commandFor(press("1"))).toEqual({ name: "label", digit: "1" });
    expect(commandFor(press("9", { code: "Numpad9" }))).toEqual({ name: "label", digit: "9" });
    expect(commandFor(press("0"))).toEqual({ name: "remove" });
  });

  it("go by the physical key: Shift and a French keyboard change the character only", () => {
    expect(commandFor(press("!", { code: "Digit1", shiftKey: true }))).toEqual({ name: "review", digit: "1" });
    expect(commandFor(press("&", { code: "Digit1" }))).toEqual({ name: "label", digit: "1" });
  });

  it("never label while the number pad moves the cursor, or with Ctrl", () => {
    expect(commandFor(press("ArrowUp", { code: "Numpad8" }))).toMatchObject({ name: "move" });
    expect(commandFor(press("1", { ctrlKey: true }))).toBeNull();
    expect(commandFor(press("1", { altKey: true }))).toBeNull();
  });
});

it("undoes and redoes with and without Ctrl", () => {
  expect(commandFor(press("z"))).toEqual({ name: "undo" });
  expect(commandFor(press("Z", { shiftKey: true }))).toEqual({ name: "redo" });
  expect(commandFor(press("z", { ctrlKey: true }))).toEqual({ name: "undo" });
  expect(commandFor(press("z", { metaKey: true, shiftKey: true }))).toEqual({ name: "redo" });
});

it("confirms by Enter, and accepts a sample by a key of its own", () => {
  expect(commandFor(press("Enter", { code: "Enter" }))).toEqual({ name: "confirm" });
  expect(commandFor(press("Enter", { code: "Enter", shiftKey: true }))).toEqual({ name: "accept-sample" });
});

it("leaves the browser's own shortcuts alone", () => {
  for (const key of ["c", "r", "t", "f", "l", "p"]) expect(commandFor(press(key, { ctrlKey: true }))).toBeNull();
});

it("knows every single letter that the help names", () => {
  const letters = HELP.flatMap((section) => section.rows)
    .flatMap(([keys]) => keys.split(", "))
    .filter((k) => /^[A-Z]$/.test(k));
  expect(letters.length).toBeGreaterThan(8);
  for (const letter of letters) expect(commandFor(press(letter.toLowerCase())), letter).not.toBeNull();
});

it("goes on, searches and confirms by one key each", () => {
  expect(commandFor(press("g"))).toEqual({ name: "next-suggestion" });
  expect(commandFor(press("s"))).toEqual({ name: "similar" });
  expect(commandFor(press("Enter", { code: "Enter" }))).toEqual({ name: "confirm" });
});

it("extends by Shift and an arrow", () => {
  const arrow = press("ArrowLeft", { code: "ArrowLeft", shiftKey: true });
  expect(commandFor(arrow)).toEqual({ name: "move", dx: -1, dy: 0, extend: true });
});

it("tells keys that speech input presses from those that nobody says", () => {
  expect(["1", "a", "?", " "].map((key) => isCharacter(press(key)))).toEqual([true, true, true, true]);
  expect(["Enter", "ArrowUp", "Escape"].map((key) => isCharacter(press(key)))).toEqual([false, false, false]);
  expect(isCharacter(press("z", { ctrlKey: true }))).toBe(false);
});
