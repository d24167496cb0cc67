import { expect, it, vi } from "vitest";
import { postAction } from "../../api/labels";
import type { Proposal } from "../../api/types";
import { lookFor, makeController, range, settle } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

it("labels what was clicked out of a page by another class's key, before the page is confirmed and after", async () => {
  const { controller, selection, labels } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 8, revision: 1 } as never);
  const page = range(0, 10);
  const labeled = (value: number) => page.filter((ordinal) => labels.shown[ordinal] === value);
  selection.setRegion(Uint32Array.from(page), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(page, 10);
  selection.toggle(3);
  selection.toggle(4);
  controller.labeling.label(2);
  expect(labeled(2)).toEqual([3, 4]);
  controller.labeling.label(3); // a wrong key is corrected by the right one
  expect(labeled(3)).toEqual([3, 4]);
  controller.labeling.label(null);
  expect(labeled(0)).toEqual(page);
  controller.labeling.label(2);
  expect([labeled(2), labeled(0)]).toEqual([[3, 4], page.filter((ordinal) => ordinal !== 3 && ordinal !== 4)]);
  controller.labeling.confirm();
  expect(labeled(1)).toEqual(page.filter((ordinal) => ordinal !== 3 && ordinal !== 4));
  await settle();

  const next = range(20, 10);
  selection.setRegion(Uint32Array.from(next), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(next, 10);
  selection.toggle(3);
  controller.labeling.confirm();
  controller.labeling.label(2);
  expect([labels.shown[23], labels.shown[22]]).toEqual([2, 1]);
  controller.labeling.label(3);
  expect([labels.shown[23], labels.shown[22]]).toEqual([3, 1]);
});

it("says what a label took the place of, and how many of the labeled nobody can have seen", async () => {
  const { controller, selection, labels, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 195, revision: 1 } as never);
  for (const ordinal of range(0, 5)) labels.shown[ordinal] = 1;
  for (const ordinal of range(5, 20)) labels.shown[ordinal] = 2;
  selection.setRegion(Uint32Array.from(range(0, 200)), "lasso");
  controller.region.markSeen(range(0, 50), 50);
  selection.pickAll();
  controller.labeling.label(1);
  expect(told.at(-1)).toBe(
    "195 objects labeled lymphocyte; 5 were so before; 20 had another class. 150 of them were not on the screen",
  );
  selection.pickOnly(199);
  controller.labeling.label(2);
  expect(told.at(-1)).toBe("1 object labeled tumor cell");
  await settle();
});

it("offers no Undo where nothing changes: it would take back the gesture before", async () => {
  const { controller, selection, labels, told, offered } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 0, revision: 1 } as never);
  for (const ordinal of range(0, 5)) labels.shown[ordinal] = 1;
  selection.setRegion(Uint32Array.from(range(0, 5)), "lasso");
  selection.pickAll();
  controller.labeling.label(1);
  expect([told.at(-1), offered.at(-1)]).toEqual([
    "0 objects labeled lymphocyte; 5 were so before. 5 of them were not on the screen",
    undefined,
  ]);
  labels.unseen[3] = 1; // accepted by sample: seen now
  controller.labeling.label(1);
  expect(offered.at(-1)).toBeDefined();
  await settle();
});

it("keeps a label that differs from the prediction by its own key, and says when that was the last", async () => {
  const { controller, selection, labels, told, offered } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 1, revision: 1 } as never);
  for (const ordinal of range(0, 2)) labels.shown[ordinal] = 1;
  selection.setRegion(Uint32Array.of(0, 1), "suggested", { proposal: { kind: "discordant" } as never });
  selection.setCursor(0, true);
  controller.labeling.label(1);
  expect([told.at(-1), selection.cursor]).toEqual(["1 label kept: lymphocyte", 1]);
  expect(offered.at(-1)).toBeDefined();
  controller.labeling.label(2);
  expect(told.slice(-2)).toEqual(["1 object labeled tumor cell", "That was the last of these. G goes on."]);
  await settle();
});

it("replaces a hundred labels by a second press alone, and corrects what was just labeled by one", async () => {
  const { controller, selection, labels, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 300, revision: 1 } as never);
  for (const ordinal of range(0, 150)) labels.shown[ordinal] = 2;
  const labeled = (value: number) => range(0, 300).filter((ordinal) => labels.shown[ordinal] === value).length;
  selection.setRegion(Uint32Array.from(range(0, 300)), "lasso");
  selection.pickAll();
  controller.labeling.label(1);
  expect(labeled(2)).toBe(150);
  expect(told.at(-1)).toBe("150 of these have another class. Once more labels them lymphocyte all the same.");
  controller.labeling.label(3);
  expect(labeled(2), "another key asks anew").toBe(150);
  controller.labeling.label(3);
  expect(labeled(3)).toBe(300);
  controller.labeling.label(1);
  expect(labeled(1), "a wrong key is corrected by the right one").toBe(300);
  selection.pickAll();
  controller.labeling.label(null);
  expect(told.at(-1)).toBe("300 labels would go. Once more removes them.");
  controller.labeling.label(null);
  expect(labeled(0)).toBe(300);
  await settle();
});

it("labels a page that nothing was clicked out of otherwise only where all of it was selected by hand", async () => {
  const { controller, selection, labels, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const shown = () => range(0, 5).map((ordinal) => labels.shown[ordinal]);
  selection.setRegion(Uint32Array.from(range(0, 5)), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(range(0, 5), 5);
  controller.labeling.label(2);
  expect(shown()).toEqual([0, 0, 0, 0, 0]);
  controller.labeling.confirm();
  controller.labeling.label(2);
  expect(shown()).toEqual([1, 1, 1, 1, 1]);
  expect(told.filter((text) => text.startsWith("Take the wrong ones out first"))).toHaveLength(2);
  selection.pickAll();
  controller.labeling.label(2);
  controller.labeling.label(3); // a wrong key is corrected by the right one
  expect(shown()).toEqual([3, 3, 3, 3, 3]);
  await settle();
});

it("labels what was picked by hand, whatever was clicked out of the page before", async () => {
  const { controller, selection, labels } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const shown = () => range(0, 5).map((ordinal) => labels.shown[ordinal]);
  selection.setRegion(Uint32Array.from(range(0, 5)), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(range(0, 5), 5);
  selection.toggle(4);
  controller.labeling.confirm();
  selection.toggle(0); // a second look: this one was wrong, too
  controller.labeling.label(2);
  expect(shown()).toEqual([2, 1, 1, 1, 0]);
  controller.labeling.label(3);
  expect(shown()).toEqual([3, 1, 1, 1, 0]);
  selection.pickAll();
  controller.labeling.label(2);
  expect(shown()).toEqual([2, 2, 2, 2, 2]);
  await settle();
});

it("knows how many Enter will label: what was on the screen, was not taken out and has no label", async () => {
  const { controller, selection, labels } = makeController();
  vi.mocked(postAction).mockReturnValue(new Promise(() => undefined));
  selection.setRegion(Uint32Array.from(range(0, 15)), "suggested", { reviewClass: 1, pickAll: true });
  expect(controller.labeling.nToConfirm).toBe(0);
  controller.region.markSeen(range(0, 10), 10);
  selection.toggle(3);
  labels.propose(Uint32Array.of(7), 2); // by a colleague, meanwhile
  expect(controller.labeling.nToConfirm).toBe(8);
  controller.labeling.confirm();
  expect(range(0, 15).filter((ordinal) => labels.shown[ordinal] === 1)).toHaveLength(8);
  expect(controller.labeling.nToConfirm).toBe(0);
  controller.region.markSeen(range(10, 5), 15);
  expect(controller.labeling.nToConfirm).toBe(5);
  lookFor(1_000);
  controller.labeling.confirm();
  expect(controller.labeling.nToConfirm).toBe(0);
  labels.propose(Uint32Array.of(12, 13), 0); // taken back by a colleague
  expect(controller.labeling.nToConfirm).toBe(2);
  controller.labeling.confirm();
  expect([12, 13].map((ordinal) => labels.shown[ordinal])).toEqual([1, 1]);
});

it("labels nothing of a page by Enter for whoever may only look", () => {
  const { controller, selection, hear } = makeController();
  hear({ permissions: [] });
  selection.setRegion(Uint32Array.from(range(0, 15)), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(range(0, 15), 15);
  expect(controller.labeling.nToConfirm).toBe(0);
  controller.labeling.confirm();
  expect(postAction).not.toHaveBeenCalled();
});

it("goes on where nothing on the screen is of the page's class, and tells the server who was left out", async () => {
  const { controller, selection, labels, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n: 0, n_changed: 0, revision: 1 } as never);
  selection.setRegion(Uint32Array.from(range(0, 6)), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(range(0, 3), 3);
  for (const ordinal of range(0, 3)) selection.toggle(ordinal);
  controller.labeling.confirm();
  expect(told.at(-1)).toBe("Nothing labeled lymphocyte, 3 left out; 3 more to look at");
  expect([...selection.picks()]).toEqual([3, 4, 5]);
  controller.region.markSeen(range(3, 3), 6);
  lookFor(1_000);
  for (const ordinal of range(3, 3)) selection.toggle(ordinal);
  controller.labeling.confirm();
  expect(told.at(-1)).toBe("Nothing labeled lymphocyte, 3 left out");
  controller.labeling.confirm();
  expect(told.at(-1), "once is enough").toBe("3 patches left out here have no label. G goes on.");
  await settle();
  const sent = vi
    .mocked(postAction)
    .mock.calls.map(([, , action, ordinals]) => [[...ordinals], action.selection.left_out, action.class_value]);
  expect(sent).toEqual([
    [[], [0, 1, 2], 1],
    [[], [3, 4, 5], 1],
  ]);
  controller.labeling.label(2);
  expect(range(3, 3).map((ordinal) => labels.shown[ordinal])).toEqual([2, 2, 2]);
  await settle();
});

it("tells the server who was left out of a page that is confirmed, but not whom nobody saw", async () => {
  const { controller, selection, told } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n: 2, n_changed: 2, revision: 1 } as never);
  selection.setRegion(Uint32Array.of(0, 1, 2, 3, 4), "review", { reviewClass: 1, pickAll: true });
  controller.region.markSeen([0, 1, 2, 3], 4);
  selection.toggle(3);
  selection.toggle(4);
  controller.labeling.label(1);
  await settle();
  const [, , action, ordinals] = vi.mocked(postAction).mock.calls[0]!;
  expect([...ordinals]).toEqual([0, 1, 2]);
  expect(action.selection.left_out).toEqual([3]);
  expect(told).toContain("3 objects labeled lymphocyte, 1 left out");
});

it.each([
  [[0, 1, 2, 3], { n: 4 }],
  [[1, 3], { n: 2, ordinals: [1, 3] }],
  [[], { n: 0, ordinals: [] }],
])("tells the server that of four labeled ones %j were on the screen", async (seen, onScreen) => {
  const { controller, selection } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n: 4, n_changed: 4, revision: 1 } as never);
  selection.setRegion(Uint32Array.of(0, 1, 2, 3, 4), "lasso", { pickAll: true });
  controller.region.markSeen(seen, seen.length);
  selection.toggle(4);
  controller.labeling.label(1);
  await settle();
  const [, , action] = vi.mocked(postAction).mock.calls[0]!;
  expect(action.selection.on_screen).toEqual(onScreen);
});

function pageOfMany() {
  const made = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 1, revision: 1 } as never);
  made.selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", {});
  made.selection.setCursor(0, true);
  made.controller.region.markSeen(range(0, 6), 6);
  const shown = () => [...made.labels.shown.subarray(0, 10)];
  return { ...made, shown };
}

it("takes all that has no label yet of a page where each gets its own, so that what was corrected stays", () => {
  const { controller, selection, shown } = pageOfMany();
  controller.labeling.pickAll();
  controller.labeling.label(1);
  selection.toggle(2);
  controller.labeling.label(2);
  expect(shown()).toEqual([1, 1, 2, 1, 1, 1, 0, 0, 0, 0]);
  controller.region.markSeen(range(6, 4), 4);
  controller.labeling.pickAll();
  controller.labeling.label(3);
  expect(shown()).toEqual([1, 1, 2, 1, 1, 1, 3, 3, 3, 3]);
  controller.labeling.pickAll();
  expect(selection.pickedCount, "where all have one, all").toBe(10);
});

it("is done with what was labeled of such a page when more of it comes onto the screen: the next key is for one of those", () => {
  const { controller, selection, shown } = pageOfMany();
  controller.labeling.pickAll();
  controller.labeling.label(1);
  controller.region.markSeen(range(6, 2), 2);
  expect([selection.pickedCount, selection.cursor]).toEqual([0, 6]);
  controller.labeling.label(3);
  expect(shown()).toEqual([1, 1, 1, 1, 1, 1, 3, 0, 0, 0]);
});

it("lets go of what was corrected where label and prediction differ, too, and goes nowhere by itself", () => {
  const { controller, selection, labels, shown } = pageOfMany();
  labels.shown.fill(1, 0, 10);
  const proposal = { kind: "discordant", class_value: null } as Proposal;
  selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", { proposal });
  selection.setCursor(2, false);
  selection.pickOnly(2);
  controller.labeling.label(2);
  controller.region.markSeen(range(6, 4), 4);
  expect([selection.pickedCount, selection.cursor]).toEqual([0, 2]);
  controller.labeling.label(3);
  expect(shown()).toEqual([1, 1, 2, 1, 1, 1, 1, 1, 1, 1]);
});

it("goes on after a patch of such a page that was clicked, too, but not after one that is corrected", () => {
  const { controller, selection, shown } = pageOfMany();
  selection.setCursor(3, false);
  selection.pickOnly(3);
  for (const key of [2, 1, 3]) controller.labeling.label(key);
  expect(shown()).toEqual([0, 0, 0, 2, 1, 3, 0, 0, 0, 0]);
  selection.setCursor(4, false);
  selection.pickOnly(4);
  controller.labeling.label(3);
  controller.labeling.label(2);
  expect(shown()).toEqual([0, 0, 0, 2, 2, 3, 0, 0, 0, 0]);
});
