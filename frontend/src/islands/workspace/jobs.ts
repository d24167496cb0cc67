import { messageOf } from "../../api/http";
import { cancelJob, startIteration } from "../../api/jobs";
import type { Job } from "../../api/types";
import { Part } from "./part";

/** Starts and ends trainings, and says what came of a job. */
export class Jobs extends Part {
  private isStarting = false;

  async train(): Promise<void> {
    if (!this.project.canTrain) {
      this.notify({ text: "Your role in this project may not start a training.", tone: "warning", topic: "access" });
      return;
    }
    if (this.project.isTraining || this.isStarting) {
      this.notify({
        text: "The model is being trained already. Labeling goes on meanwhile.",
        tone: "plain",
        topic: "job",
      });
      return;
    }
    if (this.project.nObjects === 0) {
      this.notify({ text: "There are no objects to train on yet.", tone: "plain", topic: "job" });
      return;
    }
    this.isStarting = true;
    try {
      this.project.setJob(await startIteration(this.config.api, this.config.projectId));
    } catch (error) {
      this.notify({ text: `The training did not start: ${messageOf(error)}`, tone: "danger", topic: "job" });
    } finally {
      this.isStarting = false;
    }
  }

  async cancel(job: Job): Promise<void> {
    try {
      await cancelJob(this.config.api, job.id);
      this.notify({ text: `${job.title} is being cancelled. Labels stay.`, tone: "plain", topic: "job" });
      await this.controller.sync.catchUp();
    } catch (error) {
      this.notify({ text: `The job could not be cancelled: ${messageOf(error)}`, tone: "danger", topic: "job" });
    }
  }

  tellOutcome(job: Job): void {
    if (job.state === "failed") {
      this.notify({
        text: `${job.title} failed: ${job.error ?? job.message ?? "no reason was given"}`,
        tone: "danger",
        topic: "job",
      });
    } else if (job.state === "cancelled") {
      this.notify({ text: `${job.title} cancelled`, tone: "plain", topic: "job" });
    }
  }
}
