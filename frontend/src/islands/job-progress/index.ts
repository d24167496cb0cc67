import { messageOf } from "../../api/http";
import { cancelJob, fetchJobs } from "../../api/jobs";
import { isActive, type Job } from "../../api/types";
import { el } from "../../lib/dom";
import { percent } from "../../lib/format";
import { listenToProject } from "../../live/channels";
import { toast } from "../../pages/behaviors";
import type { Island } from "../mount";

const STATES: Record<Job["state"], string> = {
  queued: "Queued",
  running: "Running",
  finished: "Finished",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** The progress of whichever job of the project is active; nothing until there is one. Follows the socket; asks again after a gap. */
export class JobProgressIsland implements Island {
  private readonly api: string;
  private readonly projectId: string;
  private readonly endListening: () => void;
  private readonly lifetime = new AbortController();
  private job: Job | null = null;
  /** Stays where it is while all around it is drawn anew, as somebody may be about to press it. */
  private readonly cancel: HTMLButtonElement;
  private readonly head = el("div", { class: "job-progress__title" });
  private readonly rest = el("div", { class: "job-progress__rest" });

  constructor(private readonly element: HTMLElement) {
    this.api = (element.dataset["api"] ?? "/api/v1").replace(/\/$/, "");
    this.projectId = element.dataset["projectId"] ?? "";
    this.cancel = el(
      "button",
      { type: "button", class: "button button--small", hidden: true, onclick: () => this.askToCancel() },
      "Cancel",
    );
    element.classList.add("job-progress");
    element.replaceChildren(this.head, this.cancel, this.rest);
    this.endListening = listenToProject(this.projectId, (event) => {
      if (event.type === "reconnected") void this.load();
      else if (event.type === "job.progress" || event.type === "job.finished") this.take(event.job);
    });
    void this.load();
  }

  destroy(): void {
    this.lifetime.abort();
    this.endListening();
    this.element.replaceChildren();
  }

  private async load(): Promise<void> {
    const options = { signal: this.lifetime.signal };
    try {
      const jobs = await fetchJobs(this.api, this.projectId, options);
      for (const job of [jobs.find((known) => known.id === this.job?.id), jobs.find(isActive)])
        if (job !== undefined) this.take(job);
    } catch (error) {
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not ask for the job:", error);
    }
  }

  private take(job: Job): void {
    const follows = this.job !== null && isActive(this.job);
    // The end of a job that was not followed is no news here: the page says what came of it.
    if (follows ? job.id !== this.job?.id : !isActive(job)) return;
    this.job = job;
    this.draw(job);
  }

  private askToCancel(): void {
    if (this.job === null) return;
    this.cancel.disabled = true;
    cancelJob(this.api, this.job.id).catch((error: unknown) => {
      this.cancel.disabled = false;
      toast(`The job could not be cancelled: ${messageOf(error)}`, "danger");
    });
  }

  private draw(job: Job): void {
    const active = isActive(job);
    this.element.hidden = false;
    this.head.replaceChildren(
      el("span", { class: `badge badge--${job.state}` }, STATES[job.state]),
      el("span", {}, job.title),
    );
    this.cancel.hidden = !active;
    this.cancel.disabled = job.cancel_requested;
    const rest: HTMLElement[] = [];
    if (active) {
      const bar = el("progress", { class: "progress", max: "1", "aria-label": "Progress" });
      if (job.state === "running" && job.progress !== null) bar.value = job.progress;
      rest.push(bar);
    }
    const message = job.state === "failed" ? (job.error ?? job.message) : job.message;
    const at = active && job.progress !== null && job.state === "running" ? percent(job.progress) : "";
    const stage = active && job.state === "running" ? (job.stage ?? "") : "";
    const text = [at, stage, message ?? ""].filter((part) => part !== "").join(", ");
    if (text !== "") {
      const tone = job.state === "failed" ? " job-progress__message--error" : "";
      rest.push(el("p", { class: `job-progress__message${tone}` }, text));
    }
    this.rest.replaceChildren(...rest);
  }
}
