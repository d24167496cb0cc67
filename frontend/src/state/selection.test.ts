import { beforeEach, describe, expect, it } from "vitest";
import { type RectangleMode, SelectionStore } from "./selection";

let selection: SelectionStore;

beforeEach(() => {
  selection = new SelectionStore();
  selection.resize(10);
  selection.setRegion(Uint32Array.of(7, 3, 5, 1), "lasso");
});

const picks = () => Array.from(selection.picks());

it("picks come in the order of the grid", () => {
  selection.pickAll();
  expect(picks()).toEqual([7, 3, 5, 1]);
  expect(selection.pickedCount).toBe(4);
});

it("points at nothing of a former region", () => {
  selection.setFocus(5);
  selection.setRegion(Uint32Array.of(2, 4), "suggested");
  expect(selection.focus).toBe(-1);
});

it("inverts within the region only", () => {
  selection.toggle(1);
  selection.invert();
  expect(picks()).toEqual([7, 5, 1]);
  expect(selection.isPicked(0)).toBe(false);
});

describe("clicks", () => {
  it("a plain click picks one, a second one on it releases it", () => {
    selection.pickAll();
    selection.pickOnly(2);
    expect(picks()).toEqual([5]);
    selection.pickOnly(2);
    expect(picks()).toEqual([]);
  });

  it("Shift picks the range from the last click, in either direction", () => {
    selection.pickOnly(2);
    selection.pickRange(0);
    expect(picks()).toEqual([7, 3, 5]);
    selection.pickRange(3);
    expect(picks()).toEqual([7, 3, 5, 1]);
  });

  it("Ctrl adds and removes", () => {
    selection.toggle(0);
    selection.toggle(3);
    selection.toggle(0);
    expect(picks()).toEqual([1]);
  });
});

/** A rectangle that covers these tiles, still being drawn; it began at the first of them. */
function draw(indices: number[], mode: RectangleMode | null = null): void {
  selection.beginRectangle(mode);
  stretch(indices);
}

function stretch(indices: number[], first = indices[0] ?? -1): void {
  selection.stretchRectangle(indices, () => first);
}

function drawn(indices: number[], mode: RectangleMode | null = null): void {
  draw(indices, mode);
  selection.endRectangle();
}

describe("a rectangle", () => {
  it("adds, and what it no longer covers is as it was", () => {
    selection.pickOnly(0);
    draw([0, 1, 2], "add");
    expect(picks()).toEqual([7, 3, 5]);
    stretch([1], 1);
    expect(picks()).toEqual([7, 3]);
  });

  it("takes out, and replaces", () => {
    selection.toggle(0);
    selection.toggle(1);
    drawn([0, 2], "subtract");
    expect(picks()).toEqual([3]);
    drawn([3], "replace");
    expect(picks()).toEqual([1]);
    draw([0], "replace");
    stretch([2], 2);
    expect(picks()).toEqual([5]);
  });

  it("leaves what changes beside it as it changed", () => {
    draw([1], "add");
    selection.toggle(3);
    stretch([], -1);
    expect(picks()).toEqual([1]);
  });

  it("given up is as if it had not been drawn", () => {
    selection.toggle(0);
    selection.toggle(1);
    for (const mode of ["replace", "add", "subtract"] as const) {
      draw([1, 2], mode);
      selection.giveUpRectangle();
      expect(picks()).toEqual([7, 3]);
      expect(selection.pickedCount).toBe(2);
      expect(selection.isDrawing).toBe(false);
    }
  });

  it("ends where it is when the region changes, and gives nothing back into it", () => {
    selection.toggle(0);
    draw([1, 2], "replace");
    selection.setRegion(Uint32Array.of(9, 8), "lasso");
    expect(selection.isDrawing).toBe(false);
    stretch([0]);
    selection.giveUpRectangle();
    expect(picks()).toEqual([]);
    expect(selection.pickedCount).toBe(0);
    draw([0], "add");
    selection.reorder(Uint32Array.of(8, 9));
    stretch([0, 1]);
    expect(picks()).toEqual([9]);
  });

  it("given up after more objects came leaves all of them to be picked", () => {
    selection.toggle(0);
    draw([1], "replace");
    selection.resize(20);
    selection.giveUpRectangle();
    expect(picks()).toEqual([7]);
    expect(selection.picked).toHaveLength(20);
  });
});

describe("a rectangle without a key, on a page by exception", () => {
  beforeEach(() => {
    selection.setRegion(Uint32Array.of(7, 3, 5, 1), "suggested", { reviewClass: 1, pickAll: true });
  });

  it("leaves out or takes in again, as a click on its first tile does", () => {
    drawn([1, 2]);
    expect(picks()).toEqual([7, 1]);
    drawn([1, 0]);
    expect(picks()).toEqual([7, 3, 1]);
  });

  it("waits for its first tile, and goes by that one", () => {
    draw([]);
    expect(picks()).toEqual([7, 3, 5, 1]);
    stretch([1], 1);
    stretch([0, 1], 1);
    expect(picks()).toEqual([5, 1]);
  });

  it("given up leaves the page's offer as it was, whatever it did", () => {
    for (const mode of [null, "subtract", "replace"] as const) {
      draw([1, 2], mode);
      selection.giveUpRectangle();
      expect(picks()).toEqual([7, 3, 5, 1]);
    }
    selection.toggle(0);
    expect(Array.from(selection.leftOut)).toEqual([7]);
  });

  it("is a choice of some: another class's key is then for those left out", () => {
    selection.pickAll();
    expect(selection.isAllChosen).toBe(true);
    draw([1], "subtract");
    selection.giveUpRectangle();
    expect(selection.isAllChosen).toBe(true);
    drawn([1], "subtract");
    drawn([1], "add");
    expect(selection.isAllChosen).toBe(false);
  });

  it("marks in a sample, and takes no other mark back", () => {
    selection.setRegion(Uint32Array.of(7, 3, 5, 1), "sample");
    selection.toggle(3);
    drawn([0]);
    expect(picks()).toEqual([7, 1]);
  });

  it("selects anew after labeling, and elsewhere always", () => {
    selection.hold();
    drawn([0]);
    expect(picks()).toEqual([7]);
    selection.setRegion(Uint32Array.of(7, 3, 5, 1), "lasso");
    selection.toggle(0);
    drawn([1]);
    expect(picks()).toEqual([3]);
    drawn([]);
    expect(picks()).toEqual([]);
  });
});

it("a new region drops the picks, unless it grew out of the old one", () => {
  selection.pickAll();
  selection.setRegion(Uint32Array.of(3, 9), "lasso", { keepPicks: true });
  expect(picks()).toEqual([3]);
  selection.setRegion(Uint32Array.of(3), "all");
  expect(picks()).toEqual([]);
});

describe("what was just labeled", () => {
  beforeEach(() => {
    drawn([0, 1], "replace");
    selection.hold();
  });

  it("stays picked, for the right key after a wrong one", () => {
    expect(picks()).toEqual([7, 3]);
    selection.reorder(Uint32Array.of(1, 3, 5, 7));
    selection.setFocus(5);
    expect(picks()).toEqual([3, 7]);
  });

  it("makes way for the next click, with or without a modifier", () => {
    selection.toggle(2);
    expect(picks()).toEqual([5]);
    selection.toggle(3);
    expect(picks()).toEqual([5, 1]);
    selection.hold();
    selection.pickRange(2);
    expect(picks()).toEqual([5, 1]);
    selection.hold();
    selection.pickOnly(0);
    expect(picks()).toEqual([7]);
  });

  it("a click on the one just labeled picks it and does not release it", () => {
    selection.pickOnly(0);
    selection.hold();
    selection.pickOnly(0);
    expect(picks()).toEqual([7]);
    selection.pickOnly(0);
    expect(picks()).toEqual([]);
  });

  it("is no part of a rectangle that adds, and is there again when the rectangle is given up", () => {
    draw([3], "add");
    expect(picks()).toEqual([1]);
    selection.giveUpRectangle();
    expect(picks()).toEqual([7, 3]);
    expect(selection.held).toBe(true);
  });

  it("loses what a rectangle takes out of it, and is held again when the rectangle is given up", () => {
    draw([0], "subtract");
    expect(picks()).toEqual([3]);
    expect(selection.held).toBe(false);
    selection.giveUpRectangle();
    expect(picks()).toEqual([7, 3]);
    expect(selection.held).toBe(true);
  });

  it("is let go when the cursor moves, and by a new region even if that grew out of the old one", () => {
    selection.setCursor(2, true);
    expect(picks()).toEqual([]);
    selection.pickAll();
    selection.hold();
    selection.setRegion(Uint32Array.of(3, 9), "lasso", { keepPicks: true });
    expect(picks()).toEqual([]);
  });

  it("can be inverted: then the rest is picked, and not held", () => {
    selection.invert();
    expect(picks()).toEqual([5, 1]);
    selection.setCursor(0, true);
    expect(picks()).toEqual([5, 1]);
  });
});

it("another order keeps picks and cursor on their objects", () => {
  selection.toggle(1);
  selection.setCursor(2, true);
  selection.reorder(Uint32Array.of(1, 3, 5, 7));
  expect(picks()).toEqual([3]);
  expect(selection.order[selection.cursor]).toBe(5);
});

it("objects that are added later leave the selection as it is", () => {
  selection.toggle(0);
  selection.resize(20);
  expect(picks()).toEqual([7]);
  expect(selection.rankOf(7)).toBe(0);
  expect(selection.rankOf(15)).toBe(-1);
});

it("another order of what is below scrolls nothing, and picks, cursor and ranges follow their objects", () => {
  let scrolls = 0;
  selection.on("region", () => scrolls++);
  selection.pickOnly(1);
  selection.setCursor(1, true);
  selection.reorderRest(Uint32Array.of(7, 3, 1, 5));
  expect(scrolls).toBe(0);
  expect(selection.cursor).toBe(1);
  selection.pickRange(2);
  expect(picks()).toEqual([3, 1]);
});

it("Shift on a page to confirm takes out as the last click did, or in again", () => {
  selection.setRegion(Uint32Array.of(4, 2, 6, 5), "suggested", { reviewClass: 1, pickAll: true });
  selection.toggle(0);
  selection.pickRange(2);
  expect(picks()).toEqual([5]);
  expect([...selection.leftOut]).toEqual([4, 2, 6]);
  selection.toggle(2);
  selection.pickRange(1);
  expect(picks()).toEqual([2, 6, 5]);
  selection.setRegion(Uint32Array.of(4, 2, 6, 5), "suggested", { reviewClass: 1, pickAll: true });
  expect(selection.rangeIsOpen).toBe(false);
  selection.pickRange(1);
  expect(picks()).toEqual([4, 6, 5]);
});

/** As the grid does it. */
function extendTo(index: number): void {
  if (!selection.rangeIsOpen) selection.beginRange(selection.cursor);
  selection.setCursor(index, true);
  selection.pickRange(index);
}

it("a range by the keyboard begins where the keyboard is, a Shift click at the last click", () => {
  const order = Uint32Array.from({ length: 60 }, (_, i) => i);
  const click = (index: number) => {
    selection.toggle(index);
    selection.setCursor(index, false);
  };
  selection.resize(60);
  selection.setRegion(order, "suggested", { reviewClass: 1, pickAll: true });
  click(3);
  selection.setCursor(50, true);
  extendTo(51);
  expect([...selection.leftOut]).toEqual([3, 50, 51]);
  selection.setCursor(51, true); // is out already, and stays so
  extendTo(52);
  expect([...selection.leftOut]).toEqual([3, 50, 51, 52]);
  click(55);
  extendTo(56);
  expect([...selection.leftOut]).toEqual([3, 50, 51, 52, 55, 56]);

  selection.setRegion(order, "sample");
  selection.setCursor(7, false); // brought there
  extendTo(8);
  expect(picks(), "in a sample they are marked as wrong").toEqual([7, 8]);

  selection.setRegion(order, "lasso");
  selection.pickOnly(5);
  selection.setCursor(5, false);
  selection.setCursor(6, true);
  selection.pickRange(8);
  expect(picks(), "Shift click").toEqual([5, 6, 7, 8]);
});

it("a page to confirm begins with everything picked, and keeps only what passes", () => {
  selection.setRegion(Uint32Array.of(4, 2, 6), "suggested", { reviewClass: 1, pickAll: true });
  expect(selection.isByException).toBe(true);
  expect(picks()).toEqual([4, 2, 6]);
  expect(selection.keepPicked((ordinal) => ordinal !== 2)).toBe(1);
  expect(picks()).toEqual([4, 6]);
  expect(selection.pickedCount).toBe(2);
});

describe("a page", () => {
  it("knows what was taken out of it, until that was dealt with", () => {
    selection.setRegion(Uint32Array.of(7, 3, 5, 1), "review", { reviewClass: 1, pickAll: true });
    expect(Array.from(selection.leftOut)).toEqual([]);
    selection.toggle(1);
    selection.toggle(3);
    expect(Array.from(selection.leftOut)).toEqual([3, 1]);
    selection.toggle(3);
    expect(Array.from(selection.leftOut)).toEqual([3]);
    selection.forgetLeftOut();
    expect(Array.from(selection.leftOut)).toEqual([]);
    expect(picks()).toEqual([7, 5, 1]);
  });

  it("offers its next patches alone, and nothing is left out of what was confirmed", () => {
    selection.setRegion(Uint32Array.of(7, 3, 5, 1), "review", { reviewClass: 1, pickAll: true });
    selection.offer(Uint32Array.of(5, 1));
    expect(Array.from(selection.leftOut)).toEqual([]);
    selection.toggle(2);
    expect(Array.from(selection.leftOut)).toEqual([5]);
    selection.hold();
    expect(Array.from(selection.leftOut)).toEqual([]);
  });

  it("has nothing left out once the person picks otherwise than by taking out", () => {
    const page = () => selection.setRegion(Uint32Array.of(7, 3, 5, 1), "review", { reviewClass: 1, pickAll: true });
    const others: (() => void)[] = [
      () => drawn([0, 1], "replace"),
      () => {
        selection.clearPicks();
        selection.toggle(0);
      },
      () => {
        selection.hold(); // Enter, and then a click to correct one
        selection.toggle(2);
      },
      () => selection.invert(),
      () => selection.pickAll(),
    ];
    for (const pickOtherwise of others) {
      page();
      selection.toggle(3);
      pickOtherwise();
      expect(Array.from(selection.leftOut)).toEqual([]);
    }
  });

  it("has what a rectangle took out", () => {
    selection.setRegion(Uint32Array.of(7, 3, 5, 1), "review", { reviewClass: 1, pickAll: true });
    drawn([1, 2], "subtract");
    expect(Array.from(selection.leftOut)).toEqual([3, 5]);
  });

  it("takes back what was undone, but not among picks that the person made otherwise", () => {
    selection.setRegion(Uint32Array.of(7, 3, 5, 1), "review", { reviewClass: 1, pickAll: true });
    selection.offer(Uint32Array.of(5, 1));
    selection.offerToo(Uint32Array.of(7));
    expect(picks()).toEqual([7, 5, 1]);
    drawn([1], "replace");
    selection.offerToo(Uint32Array.of(7));
    expect(picks()).toEqual([3]);
  });

  it("is not what a lasso is", () => {
    selection.pickAll();
    selection.toggle(0);
    expect(Array.from(selection.leftOut)).toEqual([]);
  });
});
