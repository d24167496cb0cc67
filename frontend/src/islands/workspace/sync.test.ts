import { expect, it, vi } from "vitest";
import { NetworkError } from "../../api/http";
import { fetchChanges, postAction } from "../../api/labels";
import { ProjectSocket } from "../../live/socket";
import { makeController, N, settle } from "./testing";

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

it("saves what could not be saved as soon as the server is there again", async () => {
  const { controller } = makeController();
  const send = vi.fn().mockRejectedValueOnce(new NetworkError("no answer")).mockResolvedValue(undefined);
  controller.queue.add({ clientKey: "1", send, onSaved: () => undefined, onRefused: () => undefined });
  await settle();
  expect(controller.queue.failing).toBe(true);
  controller.sync["listen"]();
  vi.mocked(ProjectSocket).mock.calls[0]![0].onConnected();
  await settle();
  expect(send).toHaveBeenCalledTimes(2);
  expect(controller.queue.failing).toBe(false);
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
