import { expect, it, vi } from "vitest";
import { NetworkError } from "../../api/http";
import { fetchOrder } from "../../api/objects";
import { fetchPlot } from "../../api/projects";
import { ProjectSocket } from "../../live/socket";
import { makeController, settle } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

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

it("draws a new map once the lasso is drawn that somebody is at", async () => {
  const { controller, project } = makeController();
  const plot = { bounds: { x0: 0, y0: 0, width: 1, height: 1 }, n: 0, positions: new Uint16Array(0) };
  vi.mocked(fetchPlot).mockResolvedValue(plot as never);
  vi.mocked(fetchOrder).mockImplementation((_api, _project, ordinals) => Promise.resolve(ordinals));
  controller.region.beginLasso();
  const loaded = controller.sync["loadEmbedding"](2);
  await settle();
  expect(fetchPlot).toHaveBeenCalled();
  expect(project.plotNumber).toBeNull();
  controller.region.endLasso();
  await loaded;
  expect(project.plotNumber).toBe(2);
});
