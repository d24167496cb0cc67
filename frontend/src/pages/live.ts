import { listenToProject } from "../live/channels";
import type { ProjectEvent } from "../live/events";

/** <div data-live="jobs labels" data-project-id="1">: gets the DOM events `live:jobs`, `live:labels` and so on, which
 * hx-trigger can name. After a lost connection it gets all of them, because anything may have happened meanwhile.
 *
 * Events are spaced out here, and the last one always comes: htmx's own `throttle` would drop the one that matters, such
 * as the end of a job right after its last progress.
 */

const SPACING_MS: Record<string, number> = {
  jobs: 1100,
  embedding: 100,
  predictions: 2100,
  labels: 2100,
  objects: 2100,
  presence: 1100,
};

const TOPICS: Record<ProjectEvent["type"], string> = {
  "job.progress": "jobs",
  "job.finished": "jobs",
  "embedding.ready": "embedding",
  "embedding.preview": "preview",
  "predictions.ready": "predictions",
  "labels.changed": "labels",
  presence: "presence",
  "objects.added": "objects",
  "project.changed": "project",
};

const ending = new WeakMap<Element, () => void>();

function liveElements(root: ParentNode): HTMLElement[] {
  const inside = Array.from(root.querySelectorAll<HTMLElement>("[data-live]"));
  return root instanceof HTMLElement && root.dataset["live"] !== undefined ? [root, ...inside] : inside;
}

export function startLive(root: ParentNode): void {
  for (const element of liveElements(root)) {
    const projectId = element.dataset["projectId"];
    if (projectId === undefined || ending.has(element)) continue;
    const topics = new Set((element.dataset["live"] ?? "").split(/\s+/));
    const send = spaced((topic) => element.dispatchEvent(new CustomEvent(`live:${topic}`)));
    ending.set(
      element,
      listenToProject(projectId, (event) => {
        if (event.type === "reconnected") for (const topic of topics) send(topic);
        else if (topics.has(TOPICS[event.type])) send(TOPICS[event.type]);
      }),
    );
  }
}

/** Calls at most once per spacing and topic; what comes in between is told at the end of the spacing. */
export function spaced(send: (topic: string) => void): (topic: string) => void {
  const waiting = new Map<string, boolean>();
  const open = (topic: string): void => {
    waiting.set(topic, false);
    send(topic);
    setTimeout(() => {
      const again = waiting.get(topic) === true;
      waiting.delete(topic);
      if (again) open(topic);
    }, SPACING_MS[topic] ?? 1100);
  };
  return (topic) => {
    if (waiting.has(topic)) waiting.set(topic, true);
    else open(topic);
  };
}

export function endLive(root: ParentNode): void {
  for (const element of liveElements(root)) {
    ending.get(element)?.();
    ending.delete(element);
  }
}
