import { expect, it, vi } from "vitest";
import { postAction } from "../../api/labels";
import { fetchImageNames, fetchImages, fetchOrder } from "../../api/objects";
import type { Polygon } from "../../lib/geometry";
import { hashOfOrdinal, ordinalOfHash } from "../../lib/ordinal-hash";
import { SpatialIndex } from "../../lib/spatial-index";
import { makeController, N, range } from "./testing";

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

/** The map is a row: object k at (k, 0.5), `N` wide. */
function withMap(controller: ReturnType<typeof makeController>["controller"]) {
  const positions = Uint16Array.from({ length: 2 * N }, (_, i) =>
    i % 2 === 0 ? Math.round((i / 2 / N) * 65535) : 32768,
  );
  const { project } = controller;
  project.plot = { bounds: { x0: 0, y0: 0, width: N, height: 1 }, n: N } as never;
  project.index = new SpatialIndex(positions);
}

/** Round the objects from `first` to before `end`. */
const round = (first: number, end: number): Polygon => [
  [first - 0.5, 0],
  [end - 0.5, 0],
  [end - 0.5, 1],
  [first - 0.5, 1],
];

it("holds in a lasso what lies in it, whatever the filters let through when it was drawn", async () => {
  const { controller, selection, labels } = makeController();
  withMap(controller);
  const labeled = { ordinals: Uint32Array.from(range(0, 50)), classes: new Uint8Array(50).fill(1) };
  labels.apply({ ...labeled, unseen: new Uint8Array(50) }, 1);
  controller.filters.setMode("unlabeled");
  await controller.region.lasso(round(40, 60), "new");
  expect(selection.order.toSorted()).toEqual(Uint32Array.from(range(50, 10)));
  controller.filters.setMode("labeled");
  await vi.waitFor(() => expect(selection.order.toSorted()).toEqual(Uint32Array.from(range(40, 10))));
  controller.filters.setMode("all");
  await vi.waitFor(() => expect(selection.size).toBe(20));
});

it("draws a lasso among the objects of the image that is shown, and goes back to all of those", async () => {
  const answer = imagesThatAreOnTheirWay();
  const { controller, selection } = makeController();
  withMap(controller);
  const shown = controller.region.showImage(7);
  answer();
  await shown;
  await controller.region.lasso(round(90, 130), "new");
  expect(selection.order.toSorted()).toEqual(Uint32Array.from(range(90, 10)));
  await controller.region.lasso(round(0, 5), "add");
  expect([selection.source, selection.size, selection.imageName]).toEqual(["lasso", 15, "a.png"]);
  expect(controller.region.context().image).toBe("a.png");
  controller.region.showAll();
  await vi.waitFor(() => expect([selection.source, selection.size]).toEqual(["image", 100]));
  controller.region.showAll();
  await vi.waitFor(() => expect([selection.source, selection.size, selection.imageName]).toEqual(["all", N, null]));
  await controller.region.lasso(round(90, 130), "new");
  expect(selection.size).toBe(40);
});

/** The server's order comes when `answer` is called. */
function orderThatIsOnItsWay() {
  let answer: (order: number[]) => void = () => undefined;
  vi.mocked(fetchOrder).mockReturnValue(
    new Promise((resolve) => (answer = (order) => resolve(Uint32Array.from(order)))),
  );
  return (order: number[]) => answer(order);
}

function withSimilarity() {
  const made = makeController();
  withMap(made.controller);
  made.project.plotNumber = 1;
  return made;
}

it("keeps keys for the lasso that was just drawn while it is being sorted, and does nothing to the region before", async () => {
  const answer = orderThatIsOnItsWay();
  const { controller, selection, labels } = withSimilarity();
  selection.setRegion(Uint32Array.from(range(0, N)), "all");
  vi.mocked(postAction).mockResolvedValue({ n_changed: 20, revision: 1 } as never);
  const shown = controller.region.lasso(round(40, 60), "new");
  controller.labeling.pickAll();
  controller.labeling.label(1);
  expect(selection.pickedCount).toBe(0);
  expect(postAction).not.toHaveBeenCalled();
  answer(range(40, 20));
  await shown;
  const labeled = range(0, N).filter((ordinal) => labels.shown[ordinal] === 1);
  expect(labeled).toEqual(range(40, 20));
});

it("forgets keys for a region that made way for another one before it was there", async () => {
  orderThatIsOnItsWay();
  const { controller, selection } = withSimilarity();
  void controller.region.lasso(round(40, 60), "new");
  controller.labeling.pickAll();
  controller.labeling.label(1);
  controller.region.showSample(Uint32Array.of(3, 4));
  expect([...selection.order]).toEqual([3, 4]);
  expect(selection.pickedCount).toBe(0);
  expect(postAction).not.toHaveBeenCalled();
});

it("keeps what has been seen in its place where the order comes after somebody began to work", async () => {
  const answer = orderThatIsOnItsWay();
  const { controller, selection } = withSimilarity();
  const shown = controller.region.lasso(round(40, 60), "new");
  await vi.waitFor(() => expect(selection.size).toBe(20), 10_000);
  controller.region.markSeen(range(40, 5), 5);
  selection.pickOnly(2);
  answer(range(40, 20).reverse());
  await shown;
  expect([...selection.order]).toEqual([...range(40, 5), ...range(45, 15).reverse()]);
});

it("takes an order that comes late as a whole where nobody has touched anything", async () => {
  const answer = orderThatIsOnItsWay();
  const { controller, selection } = withSimilarity();
  const shown = controller.region.lasso(round(40, 60), "new");
  await vi.waitFor(() => expect(selection.size).toBe(20), 10_000);
  controller.region.markSeen(range(40, 5), 5);
  answer(range(40, 20).reverse());
  await shown;
  expect([...selection.order]).toEqual(range(40, 20).reverse());
});

it("keeps what is picked, and what is on the screen, where objects are added meanwhile", async () => {
  const { controller, selection } = makeController();
  controller.region.showAll();
  const { order } = selection;
  selection.toggle(3);
  selection.toggle(7);
  controller.sync.resizeTo(N + 10);
  expect([...selection.order]).toEqual([...order, ...range(N, 10)]);
  expect([...selection.picks()]).toEqual([order[3], order[7]]);
  controller.filters.setMode("labeled");
  await vi.waitFor(() => expect(selection.size).toBe(0));
});
