import { sum } from "d3-array";
import { select } from "d3-selection";
import { isActive, type Job, type LabelClass } from "../../api/types";
import { el, ICONS, icon, showInstead } from "../../lib/dom";
import { ago, count, percent, percentDone } from "../../lib/format";
import { describeMap, describeQuality } from "../../lib/quality";
import type { SocketStatus } from "../../live/socket";
import type { Notice } from "../../state/notices";
import type { WorkspaceController } from "./controller";

const CONNECTION: Record<SocketStatus, { readonly text: string; readonly tone: string }> = {
  live: { text: "Live", tone: "good" },
  connecting: { text: "Connecting", tone: "wait" },
  waiting: { text: "Reconnecting", tone: "wait" },
  offline: { text: "Offline", tone: "bad" },
  refused: { text: "No live updates", tone: "bad" },
};

/** The bar above: where one is, what the machine does, and whether everything is saved. Below it, the classes. */
export class WorkspaceHeader {
  readonly element: HTMLElement;
  private readonly labelSet: HTMLElement;
  private readonly rate: HTMLElement;
  private readonly model: HTMLButtonElement;
  private readonly job: HTMLElement;
  private readonly train: HTMLButtonElement;
  private readonly saving: HTMLElement;
  private readonly connection: HTMLElement;
  private readonly presence: HTMLElement;
  private readonly classes: HTMLElement;
  private readonly progress: HTMLElement;
  private readonly segments: HTMLElement;
  private signedOut: Notice | null = null;
  private readonly subscriptions: (() => void)[];
  private countsQueued = false;

  constructor(
    private readonly controller: WorkspaceController,
    callbacks: { readonly onHelp: () => void; readonly onQuality: () => void },
  ) {
    const { config, project, labels, filters, queue } = controller;
    this.labelSet = el("span", { "data-testid": "label-set" });
    this.rate = el("span", { class: "topbar__fact", "data-testid": "labels-per-second" });
    this.model = el("button", {
      type: "button",
      class: "topbar__fact topbar__fact--button",
      "data-testid": "model-version",
      onclick: callbacks.onQuality,
    });
    this.job = el("div", { class: "job-box", "data-testid": "job" });
    this.train = el(
      "button",
      {
        type: "button",
        class: "button button--small",
        title: "Train the model with the labels and redraw the map (T). Labeling goes on meanwhile.",
        "data-testid": "train",
        onclick: () => void controller.jobs.train(),
      },
      icon(ICONS.play),
      "Train",
    );
    this.saving = el("span", { class: "saving", role: "status", "data-testid": "saving" });
    this.connection = el("span", { class: "connection", role: "status", "data-testid": "connection" });
    this.presence = el("span", { class: "presence", "data-testid": "presence" });
    const topbar = el(
      "div",
      { class: "topbar" },
      el(
        "a",
        {
          class: "topbar__home",
          href: config.homeUrl,
          title: "All projects",
          "aria-label": "PatchSorter: all projects",
        },
        el("span", { class: "brand-mark", "aria-hidden": "true" }),
      ),
      el(
        "nav",
        { class: "breadcrumb", "aria-label": "Breadcrumb" },
        el(
          "ol",
          {},
          el("li", {}, el("a", { href: config.projectUrl }, config.projectName)),
          el("li", { "aria-current": "page" }, this.labelSet),
        ),
      ),
      el("span", { class: "toolbar__space" }),
      this.saving,
      this.presence,
      this.rate,
      this.model,
      this.job,
      this.train,
      this.connection,
      el("button", {
        type: "button",
        class: "button button--quiet button--small button--icon",
        "data-theme-toggle": true,
        title: "Dark or light",
        "aria-label": "Switch between dark and light",
      }),
      el(
        "button",
        {
          type: "button",
          class: "button button--quiet button--small button--icon",
          title: "All keys (?)",
          "aria-label": "Help: all keys",
          "data-testid": "help",
          onclick: callbacks.onHelp,
        },
        icon(ICONS.help),
      ),
    );
    this.classes = el("div", {
      class: "classbar__list",
      role: "group",
      "aria-label": "Classes",
      "data-testid": "classes",
    });
    this.segments = el("div", { class: "segments", role: "img" });
    this.progress = el("span", { class: "num classbar__progress", "data-testid": "progress" });
    const classbar = el(
      "div",
      { class: "classbar" },
      this.classes,
      el("div", { class: "classbar__total" }, this.progress, this.segments),
    );
    this.element = el("header", { class: "workspace__header" }, topbar, classbar);

    this.subscriptions = [
      project.on("state", () => {
        this.showLabelSet();
        this.showClasses();
        this.showModel();
      }),
      project.on(["embedding", "predictions"], () => this.showModel()),
      project.on("session", () => this.showRate()),
      project.on(["jobs", "state", "objects"], () => this.showJob()),
      project.on("connection", () => this.showConnection()),
      project.on("presence", () => this.showPresence()),
      filters.on("filters", () => this.showClasses()),
      labels.on("labels", () => this.queueCounts()),
      queue.on("status", () => this.showSaving()),
    ];
    this.showRate();
    this.showJob();
    this.showConnection();
    this.showSaving();
  }

  destroy(): void {
    for (const end of this.subscriptions) end();
  }

  private showLabelSet(): void {
    const { labelSet } = this.controller.project;
    this.labelSet.textContent = labelSet?.kind === "shared" ? "shared labels" : (labelSet?.name ?? "");
  }

  private showRate(): void {
    const { session } = this.controller.project;
    this.rate.replaceChildren(
      el("strong", { class: "num" }, session?.labels_per_second?.toFixed(1) ?? "–"),
      " labels/s",
    );
    this.rate.title =
      session === null
        ? "Labels per second in this session"
        : `${count(session.labels)} labels in ${Math.max(1, Math.round(session.seconds / 60))} min of this session`;
  }

  private showModel(): void {
    const { embedding, predictionsInfo } = this.controller.project;
    if (embedding === null) {
      this.model.replaceChildren("No model yet");
      this.model.title = "";
      this.model.disabled = true;
      return;
    }
    this.model.disabled = false;
    const { short, long } = describeQuality(predictionsInfo);
    this.model.replaceChildren(el("strong", { class: "num" }, `v${embedding.model_version ?? embedding.number}`));
    if (short !== "") this.model.append(el("span", { class: "num" }, ` ${short}`));
    this.model.title =
      `Model version ${embedding.model_version ?? embedding.number}, map ${embedding.number}, ${ago(embedding.created_at, Date.now())}` +
      [long, describeMap(embedding)].map((text) => (text === "" ? "" : `. ${text}`)).join("") +
      ". Click for more";
  }

  private showJob(): void {
    const { project, config } = this.controller;
    const job = project.activeJob;
    // It keeps its place, where "cancel" must not be: the end of a training would put one under the pointer for the other.
    this.train.disabled = !project.canTrain || project.nObjects === 0 || project.isTraining;
    if (job !== null) {
      this.showActiveJob(job);
      return;
    }
    const last = project.jobs[0];
    this.job.className = "job-box";
    this.job.title = "";
    this.job.replaceChildren(
      ...(last?.state === "failed"
        ? [
            el(
              "a",
              { class: "badge badge--failed", href: config.jobsUrl, title: last.error ?? last.message ?? "" },
              `${last.title} failed`,
            ),
          ]
        : []),
    );
  }

  private showActiveJob(job: Job): void {
    const known = this.job.querySelector<HTMLElement>("[data-job]");
    if (known?.dataset["job"] !== String(job.id)) {
      this.job.className = "job-box job-box--active";
      this.job.replaceChildren(
        el(
          "div",
          { class: "job-box__main", "data-job": String(job.id) },
          el(
            "div",
            { class: "job-box__line num" },
            el("span", { class: "job-box__name" }),
            el("span", { class: "job-box__at" }),
          ),
          el("progress", { class: "progress", max: "1", "aria-label": "Progress of the job" }),
        ),
        el(
          "button",
          {
            type: "button",
            class: "button button--quiet button--small button--icon",
            title: "Cancel this job",
            "aria-label": "Cancel this job",
            "data-testid": "cancel-job",
            hidden: job.kind === "iteration" && !this.controller.project.canTrain,
            onclick: () => {
              const active = this.controller.project.jobs.find((other) => other.id === job.id && isActive(other));
              if (active !== undefined) void this.controller.jobs.cancel(active);
            },
          },
          icon(ICONS.stop),
        ),
      );
    }
    const box = select(this.job);
    const at = job.state === "queued" ? "queued" : job.progress === null ? "" : percent(job.progress);
    const isSaid = job.stage === null || job.stage === "" || job.stage === job.title.toLowerCase();
    const stage = isSaid ? "" : `: ${job.stage}`;
    box.select(".job-box__name").text(`${job.title}${job.state === "queued" ? "" : stage}`);
    box.select(".job-box__at").text(at);
    const bar = this.job.querySelector("progress")!;
    if (job.state === "queued" || job.progress === null) bar.removeAttribute("value");
    else bar.value = job.progress;
    this.job.title = job.message ?? "";
  }

  private filterBy(labelClass: LabelClass): void {
    const { filters, notices, project, selection } = this.controller;
    filters.toggleClass(labelClass.value);
    const isMeant = selection.pickedCount > 0 && !selection.isOffered;
    if (!isMeant || !project.canLabel || !filters.classes.has(labelClass.value)) return;
    const key = labelClass.key === "" ? "N" : labelClass.key;
    const text = `Only ${labelClass.name} is shown. To label what is selected, press ${key}.`;
    notices.show({ text, tone: "warning", topic: "hint" });
  }

  private showConnection(): void {
    const { text, tone } = CONNECTION[this.controller.project.connection];
    this.connection.className = `connection connection--${tone}`;
    this.connection.replaceChildren(el("span", { class: tone === "good" ? "visually-hidden" : "" }, text));
    this.connection.title = tone === "good" ? "Connected: news arrive by themselves" : text;
  }

  private showPresence(): void {
    const { others } = this.controller.project;
    const { userName } = this.controller.config;
    const shown = others.slice(0, 3);
    this.presence.replaceChildren(
      ...shown.map((name) => el("span", { class: "avatar", title: `${name} is here` }, initials(name))),
      ...(others.length > shown.length ? [el("span", { class: "muted num" }, `+${others.length - shown.length}`)] : []),
      // On a computer that several people use, it is to be seen whose labels these will be.
      el("span", { class: "avatar avatar--own", title: `Signed in as ${userName}` }, initials(userName)),
    );
  }

  private showSaving(): void {
    const { queue } = this.controller;
    const waiting = queue.length;
    this.saving.className = queue.failing ? "saving saving--failing" : "saving";
    if (queue.failing) {
      showInstead(
        this.saving,
        el("strong", {}, queue.isSignedOut ? `Signed out, not saved (${waiting})` : `Not saved (${waiting})`),
        ...(queue.isSignedOut
          ? [el("a", { class: "button button--small", href: "/accounts/login/", target: "_blank" }, "Sign in")]
          : []),
        el("button", { type: "button", class: "button button--small", onclick: () => queue.retryNow() }, "Try now"),
        ...(queue.isStuck
          ? [
              el(
                "button",
                {
                  type: "button",
                  class: "button button--small",
                  title: "The server fails at this one gesture each time. Without it, what came after it can be saved.",
                  "data-testid": "leave-out",
                  onclick: () => queue.leaveOutFirst(),
                },
                "Leave this one out",
              ),
            ]
          : []),
      );
      this.saving.title = `${queue.lastError.replace(/\.$/, "")}. Tried again by itself; keep this page open.`;
      if (queue.isSignedOut) this.saySignedOut();
    } else {
      // Said aloud only where it fails.
      showInstead(this.saving, ...(waiting > 0 ? [el("span", { "aria-hidden": "true" }, "Saving…")] : []));
      this.saving.title = "";
      if (this.signedOut !== null) this.controller.notices.dismiss(this.signedOut);
      this.signedOut = null;
    }
  }

  /** Only the person can help here, so it is said until they have. */
  private saySignedOut(): void {
    const { notices, queue } = this.controller;
    if (this.signedOut !== null && notices.shown.includes(this.signedOut)) return;
    this.signedOut = { text: `Not saved yet. ${queue.lastError}`, tone: "danger", topic: "save", durationMs: 60_000 };
    notices.show(this.signedOut);
  }

  private showClasses(): void {
    const { project, filters } = this.controller;
    select(this.classes)
      .selectAll<HTMLButtonElement, LabelClass>("button")
      .data(project.classes, (d) => String(d.value))
      .join((enter) =>
        enter.append((d) =>
          el(
            "button",
            {
              type: "button",
              class: "class-button",
              "data-testid": `class-${d.value}`,
              "data-value": String(d.value),
              onclick: () => this.filterBy(d),
            },
            el("kbd", { class: "class-button__key" }),
            el("span", { class: "class-chip__swatch" }),
            el("span", { class: "class-button__name" }),
            el("span", { class: "class-button__count num" }),
          ),
        ),
      )
      .order()
      .each(function (d) {
        const button = select(this);
        this.style.setProperty("--swatch", d.color);
        this.setAttribute("aria-pressed", String(filters.classes.has(d.value)));
        this.title =
          d.key === ""
            ? `${d.name}: click to show only this class`
            : `${d.name}: key ${d.key} labels the selection, Shift ${d.key} reviews, a click shows only this class`;
        button
          .select(".class-button__key")
          .text(d.key)
          .attr("hidden", d.key === "" ? "" : null);
        button.select(".class-button__name").text(d.name);
      });
    this.showCounts();
  }

  private queueCounts(): void {
    if (this.countsQueued) return;
    this.countsQueued = true;
    requestAnimationFrame(() => {
      this.countsQueued = false;
      this.showCounts();
    });
  }

  private showCounts(): void {
    const { project, labels } = this.controller;
    const counts = labels.counts();
    const unseenCounts = labels.hasUnseen ? labels.unseenCounts() : null;
    select(this.classes)
      .selectAll<HTMLButtonElement, LabelClass>("button")
      .each(function (d) {
        select(this).select(".class-button__count").text(count(counts[d.value]!));
      });
    const total = labels.n;
    const labeled = total - counts[0]!;
    const unseen = unseenCounts === null ? 0 : sum(unseenCounts);
    this.progress.textContent =
      total === 0
        ? ""
        : `${count(labeled)} / ${count(total)} labeled, ${percentDone(labeled, total)}${unseen > 0 ? `; ${count(unseen)} by sample` : ""}`;
    const known = sum(project.classes, (c) => counts[c.value]!);
    select(this.segments)
      .attr("aria-label", `${count(known)} of ${count(total)} objects labeled`)
      .selectAll<HTMLElement, LabelClass>("span")
      .data(project.classes, (d) => String(d.value))
      .join((enter) => enter.append("span").attr("class", "segments__part"))
      .order()
      .style("--swatch", (d) => d.color)
      .style("width", (d) => `${total === 0 ? 0 : (100 * counts[d.value]!) / total}%`)
      .attr("title", (d) => {
        const bySample = unseenCounts?.[d.value] ?? 0;
        return `${d.name}: ${count(counts[d.value]!)}${bySample > 0 ? `, of them ${count(bySample)} by sample` : ""}`;
      });
  }
}

function initials(name: string): string {
  const words = name.split(/[\s.@_-]+/).filter((word) => word !== "");
  return ((words[0]?.charAt(0) ?? "") + (words.length > 1 ? words.at(-1)!.charAt(0) : "")).toUpperCase();
}
