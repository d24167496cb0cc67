import { expect, it, vi } from "vitest";
import { fetchSimilar, postPicture } from "../../api/objects";
import { makeController, range } from "./testing";

vi.mock("../../api/jobs");
vi.mock("../../api/labels");
vi.mock("../../api/objects");
vi.mock("../../api/projects");
vi.mock("../../api/samples");
vi.mock("../../api/suggestions");
vi.mock("../../live/socket");

it("searches for what is like the patch pointed at where nobody picked any, and like the picked ones elsewhere", async () => {
  const { controller, selection } = makeController();
  const page = Uint32Array.from(range(0, 24));
  vi.mocked(fetchSimilar).mockResolvedValue({ ordinals: page } as never);
  const searched = () => (vi.mocked(fetchSimilar).mock.lastCall![2] as { ordinals: Uint32Array }).ordinals;
  selection.setRegion(page, "suggested", { reviewClass: 1, pickAll: true });
  await controller.similar.search(7);
  expect([...searched()]).toEqual([7]);
  selection.setRegion(page, "suggested", { reviewClass: 1, pickAll: true });
  await controller.similar.search(-1);
  expect([...searched()]).toEqual([...page]);
  selection.setRegion(page, "lasso");
  selection.toggle(3);
  await controller.similar.search(7);
  expect([...searched()]).toEqual([3]);
});

it("says that an answer is on its way where it takes long, and no more when it is there", async () => {
  vi.useFakeTimers();
  const { controller, selection, told, dismissed } = makeController();
  let answer: (found: never) => void = () => undefined;
  vi.mocked(fetchSimilar).mockReturnValue(new Promise((resolve) => (answer = resolve)));
  selection.setRegion(Uint32Array.of(1, 2), "lasso");
  const search = controller.similar.search(1);
  vi.advanceTimersByTime(300);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(200);
  expect(told).toEqual(["Searching for similar objects …"]);
  vi.advanceTimersByTime(30_000);
  expect(controller.notices.shown.map(({ text }) => text)).toEqual(told);
  answer({ ordinals: Uint32Array.of(2) } as never);
  await search;
  expect(dismissed).toEqual(["search"]);

  vi.mocked(fetchSimilar).mockImplementation((_api, _project, _to, _options, { signal } = {}) => {
    return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  });
  const givenUp = controller.similar.search(1);
  vi.advanceTimersByTime(500);
  expect(told).toHaveLength(2);
  controller.region.stopAsking();
  await givenUp;
  expect(dismissed).toEqual(["search", "search"]);
});

it("says that a whole tile was searched with as if it were one patch", async () => {
  const { controller, selection, told } = makeController();
  const read = { id: 5, state: "finished", shrunk_from_px: null };
  vi.mocked(fetchSimilar).mockResolvedValue({ ordinals: Uint32Array.of(2) } as never);
  vi.mocked(postPicture).mockResolvedValueOnce(read as never);
  await controller.similar.searchWith(new File([], "cell.png"));
  expect(told).toEqual([]);
  vi.mocked(postPicture).mockResolvedValueOnce({ ...read, shrunk_from_px: 1000 } as never);
  await controller.similar.searchWith(new File([], "tile.png"));
  expect([...selection.order]).toEqual([2]);
  expect(told).toHaveLength(1);
  expect(told[0]).toContain("tile.png: its middle, 1,000 px wide");
});
