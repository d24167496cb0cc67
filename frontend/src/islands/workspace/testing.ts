import { afterEach, beforeEach, vi } from "vitest";
import { fetchChanges } from "../../api/labels";
import type { ProjectState, Sample, SampledState } from "../../api/types";
import type { Notice } from "../../state/notices";
import { type WorkspaceConfig, WorkspaceController } from "./controller";

// All that the controller asks of a browser. The requests to the server are mocked by each test file.
const timers = {
  setInterval: () => 0,
  clearInterval: () => undefined,
  setTimeout: (run: () => void, ms: number) => setTimeout(run, ms),
  clearTimeout: (timer: NodeJS.Timeout) => clearTimeout(timer),
};
vi.stubGlobal("window", Object.assign(new EventTarget(), timers));
vi.stubGlobal("document", new EventTarget());

export const N = 500;
export const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
export const range = (from: number, n: number) => Array.from({ length: n }, (_, i) => from + i);

const made: WorkspaceController[] = [];

/** The controller without a page, with a project of `N` objects without a map. Its status stays "loading": nothing asks the server of
 * its own accord. What the server says next
 * is given by each test. */
export function makeController() {
  const controller = new WorkspaceController({
    api: "",
    projectId: "",
    imageId: null,
    ordinal: null,
  } as WorkspaceConfig);
  made.push(controller);
  const { project, selection, labels, notices, sampling } = controller;
  const told: string[] = [];
  const offered: Notice["action"][] = [];
  const dismissed: string[] = [];
  const { show, dismissTopic } = notices;
  notices.show = (notice) => {
    told.push(notice.text);
    offered.push(notice.action);
    show.call(notices, notice);
  };
  notices.dismissTopic = (topic) => {
    dismissed.push(topic);
    dismissTopic.call(notices, topic);
  };
  const state = {
    project: { n_objects: N, patch_size_px: 64 },
    classes: ["lymphocyte", "tumor cell", "stroma"].map((name, k) => ({ value: k + 1, name })),
    label_set: { id: 1, revision: 0 },
    embedding: null,
    predictions: null,
    jobs: [],
    sampled: { allowed: true, open_sample: null },
    session: null,
    undo: null,
    redo: null,
  } as unknown as ProjectState;
  /** The state of the project is asked for again, and differs in this. */
  const hear = (change: Omit<Partial<ProjectState>, "sampled"> & { sampled?: Partial<SampledState> } = {}) => {
    Object.assign(state, change, { sampled: { ...state.sampled, ...change.sampled } });
    project.applyState(state);
  };
  for (const store of [selection, labels, controller.seen]) store.resize(N);
  labels.revision = 0;
  hear();
  return { controller, sampling, project, selection, labels, hear, told, offered, dismissed };
}

const realNow = performance.now.bind(performance);
let aheadMs = 0;

/** The clock goes on by so much, for whoever looks at what is on the screen. */
export const lookFor = (ms: number) => {
  aheadMs += ms;
  vi.spyOn(performance, "now").mockImplementation(() => realNow() + aheadMs);
};

export const sampleOf = (id: number, ordinals: number[]) =>
  ({
    id,
    n: ordinals.length,
    sizes: [50, 90, 130],
    size: N,
    ordinals,
    marked: [],
    stale: "",
    class_value: 1,
    state: "open",
  }) as unknown as Sample;

afterEach(() => {
  for (const controller of made.splice(0)) controller.destroy();
});

beforeEach(() => {
  vi.resetAllMocks();
  aheadMs = 0;
  vi.useRealTimers();
  const nothing = { ordinals: new Uint32Array(0), classes: new Uint8Array(0), unseen: new Uint8Array(0), revision: 0 };
  vi.mocked(fetchChanges).mockResolvedValue(nothing);
});
