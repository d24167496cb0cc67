import { expect, it, vi } from "vitest";
import { fetchChanges, postAction, postRedo, postUndo } from "../../api/labels";
import { fetchSample } from "../../api/samples";
import { lookFor, makeController, N, range, sampleOf, settle } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

it("goes back to the patch whose label was taken back, where each gets a key of its own", async () => {
  const { controller, hear, selection, labels } = makeController();
  hear({ undo: { text: "" }, redo: null } as never);
  vi.mocked(postUndo).mockResolvedValue({ n_changed: 1, revision: 2, redo: null } as never);
  vi.mocked(fetchChanges).mockResolvedValue({
    ordinals: Uint32Array.of(7),
    classes: Uint8Array.of(0),
    unseen: Uint8Array.of(0),
    revision: 2,
  });
  labels.shown[7] = 3;
  selection.setRegion(Uint32Array.of(5, 7, 9), "suggested");
  selection.setCursor(2, true);
  controller.history.undo();
  await settle();
  expect(selection.cursor).toBe(1);
});

it("goes on to the next patch once the label is given again", async () => {
  const { controller, hear, selection } = makeController();
  hear({ undo: null, redo: { text: "" } } as never);
  vi.mocked(postRedo).mockResolvedValue({ n_changed: 1, revision: 3, undo: null, redo: null } as never);
  vi.mocked(fetchChanges).mockResolvedValue({
    ordinals: Uint32Array.of(7),
    classes: Uint8Array.of(3),
    unseen: Uint8Array.of(0),
    revision: 3,
  });
  selection.setRegion(Uint32Array.of(5, 7, 9), "suggested");
  selection.setCursor(1, true);
  controller.history.redo();
  await settle();
  expect(selection.cursor, "the next key is for the next patch").toBe(2);
});

it("undoes and redoes nothing in a sample that was done before it", async () => {
  const { controller, sampling, told, hear } = makeController();
  const before = { action_id: 3, text: "219 objects → lymphocyte", at: "2026-11-28T10:00:00+00:00" };
  const since = { action_id: 4, text: "1 object → lymphocyte", at: "2026-11-28T10:10:00+00:00" };
  const sample = { ...sampleOf(1, range(0, 50)), started_at: "2026-11-28T10:05:00+00:00" };
  vi.mocked(fetchSample).mockResolvedValue(sample);
  vi.mocked(postUndo).mockResolvedValue({
    action_id: 5,
    n_changed: 1,
    revision: 2,
    undo: before,
    redo: since,
  } as never);
  hear({ sampled: { open_sample: 1 }, undo: since, redo: before });
  await settle();
  sampling.show();
  controller.history.redo();
  await settle();
  expect(postRedo).not.toHaveBeenCalled();
  expect(told.at(-1)).toBe(
    "What was labeled before this sample can not be redone from within it. To take a mark back, click the patch again.",
  );
  // twice in a hurry: when the second one was asked for, the first one had not been answered
  controller.history.undo();
  controller.history.undo();
  await settle();
  expect(postUndo).toHaveBeenCalledOnce();
  expect(told.at(-1)).toMatch(/^What was labeled before this sample can not be undone/);
  controller.selection.setRegion(Uint32Array.from(range(0, N)), "all");
  controller.history.undo();
  await settle();
  expect(postUndo).toHaveBeenCalledTimes(2);
});

it("says which gesture was undone and how old it is, and shows its objects where the grid has none of them", async () => {
  const { controller, hear, selection, labels, told, offered } = makeController();
  hear({ undo: { text: "" }, redo: null } as never);
  const undone = { action_id: 8, text: "1 object → lymphocyte", at: new Date(Date.now() - 3 * 3600_000).toISOString() };
  vi.mocked(postUndo).mockResolvedValue({ action_id: 8, n_changed: 1, revision: 2, redo: undone } as never);
  vi.mocked(fetchChanges).mockResolvedValue({
    ordinals: Uint32Array.of(70),
    classes: Uint8Array.of(0),
    unseen: Uint8Array.of(0),
    revision: 2,
  });
  labels.shown[70] = 1;
  selection.setRegion(Uint32Array.of(5, 7, 9), "lasso");
  controller.history.undo();
  await settle();
  expect(new Set(told)).toEqual(new Set(["Undone: 1 object → lymphocyte, 3 h ago"]));
  const offer = offered.at(-1);
  expect(offer?.text).toBe("Show");
  offer?.run();
  expect([selection.source, ...selection.order]).toEqual(["undone", 70]);
});

it("offers an undo's objects no more once another gesture was made, nor where others' changes came with them", async () => {
  const { controller, hear, selection, labels, offered } = makeController();
  hear({ undo: { text: "" }, redo: null } as never);
  vi.mocked(postUndo).mockResolvedValue({ action_id: 8, n_changed: 1, revision: 2, redo: null } as never);
  vi.mocked(postAction).mockResolvedValue({ n_changed: 1, revision: 3 } as never);
  const change = { ordinals: Uint32Array.of(70, 71), classes: Uint8Array.of(0, 2), unseen: Uint8Array.of(0, 0) };
  vi.mocked(fetchChanges).mockResolvedValue({ ...change, revision: 2 });
  labels.shown[70] = 1;
  selection.setRegion(Uint32Array.of(5, 7, 9), "lasso");
  controller.history.undo();
  await settle();
  expect(offered.map((action) => action?.text)).toEqual(["Redo"]);

  labels.shown[70] = 1;
  vi.mocked(fetchChanges).mockImplementation(async () => {
    controller.labeling.labelOrdinals(Uint32Array.of(5), 1);
    return Promise.resolve({ ...change, ordinals: Uint32Array.of(70), classes: Uint8Array.of(0), revision: 3 });
  });
  controller.history.undo();
  await settle();
  expect(offered.map((action) => action?.text)).toEqual(["Redo", "Redo", "Undo"]);
});

it("changes a page after an undo once the rectangle that is being drawn has ended, also where that is given up", async () => {
  const { controller, hear, selection, labels } = makeController();
  hear({ undo: { text: "" }, redo: null } as never);
  vi.mocked(postUndo).mockResolvedValue({ n_changed: 10, revision: 2, redo: null } as never);
  vi.mocked(fetchChanges).mockResolvedValue({
    ordinals: Uint32Array.from(range(0, 10)),
    classes: new Uint8Array(10),
    unseen: new Uint8Array(10),
    revision: 2,
  });
  labels.shown.fill(1, 0, 10);
  selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", { reviewClass: 1, pickAll: true });
  selection.hold();
  controller.history.undo();
  selection.beginRectangle("replace");
  selection.stretchRectangle([2, 3], () => 2);
  await settle();
  expect([...selection.picks()]).toEqual([2, 3]);
  selection.giveUpRectangle();
  expect(selection.pickedCount).toBe(10);
  expect(selection.held).toBe(false);
});

it("has a page that was undone as it was before: a click takes the wrong one out", async () => {
  const { controller, selection, labels, hear } = makeController();
  hear({ undo: { text: "" }, redo: null } as never);
  vi.mocked(postAction).mockResolvedValue({ n_changed: 10, revision: 1 } as never);
  vi.mocked(postUndo).mockImplementation(() => {
    const answer = {
      ordinals: Uint32Array.from(range(0, 10)),
      classes: new Uint8Array(10),
      unseen: new Uint8Array(10),
    };
    vi.mocked(fetchChanges).mockResolvedValue({ ...answer, revision: 2 });
    return Promise.resolve({ n_changed: 10, revision: 2, redo: null } as never);
  });
  selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(range(0, 10), 10);
  controller.labeling.confirm();
  await settle();
  expect(labels.shown[3]).toBe(1);
  controller.history.undo();
  await settle();
  expect(labels.shown[3]).toBe(0);
  selection.toggle(3);
  expect([...selection.picks()]).toEqual(range(0, 10).filter((ordinal) => ordinal !== 3));
});

it("brings what was undone of a page back onto the screen, where the next Enter means it and nothing else", async () => {
  const { controller, selection, labels, hear } = makeController();
  hear({ undo: { text: "" }, redo: { text: "" } } as never);
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const stepTo = (value: number, revision: number) => {
    const changes = { ordinals: Uint32Array.from(range(0, 5)), classes: new Uint8Array(5).fill(value) };
    vi.mocked(fetchChanges).mockResolvedValue({ ...changes, unseen: new Uint8Array(5), revision });
    return Promise.resolve({ n_changed: 5, revision, undo: { text: "" }, redo: { text: "" } } as never);
  };
  vi.mocked(postUndo).mockImplementation(() => stepTo(0, 2));
  vi.mocked(postRedo).mockImplementation(() => stepTo(1, 3));
  const shown = () => range(0, 10).map((ordinal) => labels.shown[ordinal]);
  selection.setRegion(Uint32Array.from(range(0, 10)), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(range(0, 5), 5);
  controller.labeling.confirm();
  await settle();
  expect([...selection.picks()], "what was not on the screen yet comes next").toEqual(range(5, 5));
  controller.region.markSeen(range(5, 5), 10);
  const begun: number[] = [];
  controller.region.on("onward", () => begun.push(selection.order[selection.cursor]!));
  controller.history.undo();
  await settle();
  expect(begun).toEqual([0]);
  controller.history.redo();
  await settle();
  expect([...selection.picks()], "none that has its label again").toEqual(range(5, 5));
  expect(begun, "what is open comes back onto the screen").toEqual([0, 5]);
  controller.history.undo();
  await settle();
  controller.region.markSeen(range(0, 5), 5);
  lookFor(1_000);
  controller.labeling.confirm();
  expect(shown()).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
  await settle();
});

it("leaves out what was taken out of a page, whatever of it was undone since, and says when all is labeled", async () => {
  const { controller, selection, labels, hear, told } = makeController();
  hear({ undo: { text: "" }, redo: { text: "" } } as never);
  vi.mocked(postAction).mockResolvedValue({ n_changed: 5, revision: 1 } as never);
  const steps = (value: number, revision: number) => () => {
    const changes = { ordinals: Uint32Array.from(range(5, 5)), classes: new Uint8Array(5).fill(value) };
    vi.mocked(fetchChanges).mockResolvedValue({ ...changes, unseen: new Uint8Array(5), revision });
    return Promise.resolve({ n_changed: 5, revision, undo: { text: "" }, redo: { text: "" } } as never);
  };
  vi.mocked(postUndo).mockImplementation(steps(0, 2));
  vi.mocked(postRedo).mockImplementation(steps(1, 3));
  const enter = () => {
    lookFor(1_000);
    controller.labeling.confirm();
  };
  selection.setRegion(Uint32Array.from(range(0, 15)), "suggested", { reviewClass: 1, pickAll: true });
  controller.region.markSeen(range(0, 5), 5);
  selection.toggle(3);
  enter();
  controller.region.markSeen(range(5, 5), 10);
  enter();
  controller.region.markSeen(range(10, 5), 15);
  await settle();
  controller.history.undo();
  await settle();
  controller.region.markSeen(range(5, 10), 15);
  enter();
  enter();
  controller.region.markSeen([3], 15); // were it brought up, it would be on the screen
  enter();
  expect(range(0, 15).filter((ordinal) => labels.shown[ordinal] === 0)).toEqual([3]);
  await settle();

  selection.setRegion(Uint32Array.from(range(5, 5)), "suggested", { reviewClass: 1, pickAll: true });
  controller.history.undo();
  await settle();
  controller.history.redo();
  await settle();
  enter();
  expect(told.at(-1)).toBe("All of these are labeled. G goes on.");
});
