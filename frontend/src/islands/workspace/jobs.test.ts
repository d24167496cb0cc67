import { expect, it, vi } from "vitest";
import { startIteration } from "../../api/jobs";
import { makeController } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

it("starts one training by a double click", async () => {
  const { controller, project, told } = makeController();
  const setJob = vi.spyOn(project, "setJob");
  vi.mocked(startIteration).mockResolvedValue({ id: 1 } as never);
  await Promise.all([controller.jobs.train(), controller.jobs.train()]);
  expect(startIteration).toHaveBeenCalledOnce();
  expect(setJob).toHaveBeenCalledOnce();
  expect(told).toEqual(["The model is being trained already. Labeling goes on meanwhile."]);
});
