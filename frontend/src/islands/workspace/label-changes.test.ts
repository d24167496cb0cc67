import { expect, it, vi } from "vitest";
import { fetchChanges, postAction } from "../../api/labels";
import { makeController, N, range, settle } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

it("takes in labels of objects that it has not heard of yet", async () => {
  const { controller, labels } = makeController();
  const label = { ordinals: Uint32Array.of(3, N + 9), classes: Uint8Array.of(1, 2), unseen: Uint8Array.of(0, 0) };
  vi.mocked(fetchChanges).mockResolvedValue({ ...label, revision: 4 });
  await controller.labelChanges.fetch();
  expect([labels.shown[3], labels.shown[N + 9]]).toEqual([1, 2]);
  expect(labels.revision).toBe(4);
});

it("shows a colleague's label that came in while one's own gesture was on its way", async () => {
  const { controller, labels } = makeController();
  const history = [{ revision: 1, ordinal: 5, value: 2 }];
  vi.mocked(fetchChanges).mockImplementation(async (_api, _set, since) => {
    const changes = history.filter(({ revision }) => revision > since);
    const revision = history.at(-1)!.revision;
    await new Promise((resolve) => setTimeout(resolve, 1));
    return {
      ordinals: Uint32Array.from(changes.map(({ ordinal }) => ordinal)),
      classes: Uint8Array.from(changes.map(({ value }) => value)),
      unseen: new Uint8Array(changes.length),
      revision,
    };
  });
  let answer: (result: never) => void = () => undefined;
  vi.mocked(postAction).mockReturnValue(new Promise((resolve) => (answer = resolve)));
  const isFetched = controller.labelChanges.fetch();
  controller.labeling.labelOrdinals(Uint32Array.of(5, 6), 1, { onlyUnlabeled: true });
  await isFetched;
  history.push({ revision: 2, ordinal: 9, value: 2 }, { revision: 3, ordinal: 6, value: 1 });
  answer({ n: 1, n_changed: 1, revision: 3 } as never);
  await settle();
  expect([labels.shown[5], labels.shown[6], labels.shown[9]]).toEqual([2, 1, 2]);
  expect(labels.revision).toBe(3);
});

it("lets the cursor make room where somebody else has labeled what it is at", async () => {
  const { controller, selection, labels, told } = makeController();
  const change = { ordinals: Uint32Array.of(40, 41), classes: Uint8Array.of(2, 2), unseen: new Uint8Array(2) };
  vi.mocked(fetchChanges).mockResolvedValueOnce({ ...change, revision: 1 });
  selection.setRegion(Uint32Array.from(range(40, 10)), "suggested", { proposal: { kind: "typical" } as never });
  selection.setCursor(1, true);
  await controller.labelChanges.fetch();
  expect(selection.cursor).toBe(6);
  expect(labels.shown[selection.order[6]!]).toBe(0);
  expect(told.at(-1)).toBe("Somebody else has labeled this one. You go on further down.");
  const elsewhere = { ordinals: Uint32Array.of(49), classes: Uint8Array.of(1), unseen: new Uint8Array(1) };
  vi.mocked(fetchChanges).mockResolvedValueOnce({ ...elsewhere, revision: 2 });
  await controller.labelChanges.fetch();
  expect(selection.cursor, "what is labeled elsewhere moves nothing").toBe(6);
});
