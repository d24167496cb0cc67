import { messageOf } from "../../api/http";
import { cancelJob, fetchJob, fetchJobs } from "../../api/jobs";
import { isActive, type Job } from "../../api/types";
import { el } from "../../lib/dom";
import { percent } from "../../lib/format";
import { listenToProject } from "../../live/channels";
import { toast } from "../../pages/behaviors";
import { loadInto } from "../../pages/htmx";
import type { Island } from "../mount";

const STATES: Record<Job["state"], string> = {
  queued: "Queued",
  running: "Running",
  finished: "Finished",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** One job's progress, or that of whichever job of the project is active. Follows the socket; asks again after a gap. */
export class JobProgressIsland implements Island {
  private readonly api: string;
  private readonly projectId: string;
  private readonly jobId: string | null;
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
    this.jobId = element.dataset["jobId"] ?? null;
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
      const job =
        this.jobId === null
          ? (await fetchJobs(this.api, this.projectId, options)).find(isActive)
          : await fetchJob(this.api, this.jobId, options);
      if (job !== undefined) this.take(job);
    } catch (error) {
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not ask for the job:", error);
    }
  }

  private take(job: Job): void {
    const followed = this.jobId ?? (this.job !== null && isActive(this.job) ? String(this.job.id) : null);
    if (followed !== null && String(job.id) !== followed) return;
    const ended = this.job !== null && isActive(this.job) && !isActive(job);
    this.job = job;
    this.draw(job);
    if (!ended) return;
    this.element.dispatchEvent(new CustomEvent("job:finished", { bubbles: true, detail: job }));
    const { doneUrl, doneTarget } = this.element.dataset;
    if (doneUrl !== undefined && doneTarget !== undefined) void loadInto(doneUrl, doneTarget);
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
    this.head.replaceChildren(
      el("span", { class: `badge badge--${job.state}` }, STATES[job.state]),
      el("span", {}, job.stage ?? job.kind),
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
    const text = [at, message ?? ""].filter((part) => part !== "").join(", ");
    if (text !== "") {
      const tone = job.state === "failed" ? " job-progress__message--error" : "";
      rest.push(el("p", { class: `job-progress__message${tone}` }, text));
    }
    this.rest.replaceChildren(...rest);
  }
}
