import { expect, it, vi } from "vitest";
import { postAction } from "../../api/labels";
import { fetchImageNames, fetchImages, fetchOrder } from "../../api/objects";
import { hashOfOrdinal, ordinalOfHash } from "../../lib/ordinal-hash";
import { makeController, N } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

/** Two images, whose numbers come when `answer` is called. */
function imagesThatAreOnTheirWay() {
  const images = Uint32Array.from({ length: N }, (_, ordinal) => (ordinal < 100 ? 7 : 9));
  let answer: () => void = () => undefined;
  vi.mocked(fetchImages).mockReturnValue(new Promise((resolve) => (answer = () => resolve(images))));
  vi.mocked(fetchImageNames).mockResolvedValue(
    new Map([
      [7, "a.png"],
      [9, "b.png"],
    ]),
  );
  vi.mocked(fetchOrder).mockImplementation((_api, _project, ordinals) => Promise.resolve(ordinals));
  return () => answer();
}

it("shows the objects of an image, and still knows its name where a filter leaves none of them", async () => {
  const answer = imagesThatAreOnTheirWay();
  const { controller, selection } = makeController();
  const shown = controller.region.showImage(7);
  answer();
  await shown;
  expect([selection.source, selection.size, selection.imageName]).toEqual(["image", 100, "a.png"]);
  controller.filters.setMode("labeled");
  await vi.waitFor(() => expect(selection.size).toBe(0));
  expect([selection.source, selection.imageName]).toEqual(["image", "a.png"]);
});

it("begins with the object that was clicked on the image, and a class's key is for it", async () => {
  const answer = imagesThatAreOnTheirWay();
  const { controller, selection, labels } = makeController();
  vi.mocked(postAction).mockResolvedValue({ n_changed: 1, revision: 1 } as never);
  const shown = controller.region.showImage(7, ordinalOfHash(hashOfOrdinal(42)));
  answer();
  await shown;
  expect(selection.order[selection.cursor]).toBe(42);
  controller.labeling.label(2);
  expect(labels.shown[42]).toBe(2);
  expect(labels.shown.filter((value) => value === 2)).toHaveLength(1);
  expect(["#object=", "#object=4x", "#next", ""].map(ordinalOfHash)).toEqual([null, null, null, null]);
});

it("leaves who has turned to something else before the image was there", async () => {
  const answer = imagesThatAreOnTheirWay();
  const { controller, selection } = makeController();
  const shown = controller.region.showImage(9);
  await controller.region.show(Uint32Array.of(3, 4), "lasso");
  answer();
  await shown;
  expect([selection.source, selection.size]).toEqual(["lasso", 2]);
});
