import type { Job } from "../api/types";
import { listenToProject } from "../live/channels";
import type { ProjectEvent } from "../live/events";

/** <div data-live="jobs labels" data-project-id="1">: gets the DOM events `live:jobs`, `live:labels` and so on, which
 * hx-trigger can name; `live:job-states` only where a job begins, starts or ends, not with its progress. After a lost connection it gets all of them, because anything may have happened meanwhile.
 *
 * Events are spaced out here, and the last one always comes: htmx's own `throttle` drops the one that matters, such as
 * the end of a job right after its last progress, and with it whatever else the element waits for.
 */

const SPACING_MS: Record<string, number> = {
  jobs: 1100,
  "job-states": 300,
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
    const topicsOf = topicsOfEvents();
    ending.set(
      element,
      listenToProject(projectId, (event) => {
        const told = event.type === "reconnected" ? [...topics] : topicsOf(event);
        for (const topic of told) if (topics.has(topic)) send(topic);
      }),
    );
  }
}

/** What an event is about. It remembers the jobs' states, to tell a turn from mere progress. */
export function topicsOfEvents(): (event: ProjectEvent) => readonly string[] {
  const states = new Map<Job["id"], Job["state"]>();
  return (event) => {
    const topic = TOPICS[event.type];
    if (event.type !== "job.progress" && event.type !== "job.finished") return [topic];
    const turns = states.get(event.job.id) !== event.job.state;
    states.set(event.job.id, event.job.state);
    return turns ? [topic, "job-states"] : [topic];
  };
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
