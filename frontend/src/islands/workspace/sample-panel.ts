import type { Sample } from "../../api/types";
import { el } from "../../lib/dom";
import { count, share } from "../../lib/format";
import type { WorkspaceController } from "./controller";
import { areWrong, howMany } from "./sampling";

/** The open sample above the patches: what is asked, how far one is, and the gestures that go on, accept or leave it. */
export class SamplePanel {
  readonly element: HTMLElement = el("section", {
    class: "sample-panel",
    "aria-label": "Sample",
    hidden: true,
    "data-testid": "sample-panel",
  });
  private readonly subscription: () => void;
  private queued = false;

  constructor(private readonly controller: WorkspaceController) {
    this.subscription = controller.sampling.on("sample", () => this.queue());
  }

  destroy(): void {
    this.subscription();
  }

  private queue(): void {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      this.update();
    });
  }

  private update(): void {
    const { sample, isShown } = this.controller.sampling;
    this.element.hidden = sample === null;
    if (sample === null) return;
    const focused = this.element.contains(document.activeElement) ? document.activeElement?.id : undefined;
    this.element.replaceChildren(...(isShown ? this.inSample(sample) : this.elsewhere(sample)));
    if (focused !== undefined && focused !== "") document.getElementById(focused)?.focus();
  }

  private elsewhere(sample: Sample): HTMLElement[] {
    const { sampling } = this.controller;
    return [
      row(
        el("p", { class: "sample-panel__text" }, "Your open sample: ", ...this.what(sample)),
        button("sample-resume", "Go on", () => sampling.show(), sampling.isWaiting),
        button("sample-end", "End it", () => sampling.end(), sampling.isWaiting),
      ),
    ];
  }

  private inSample(sample: Sample): HTMLElement[] {
    const { sampling } = this.controller;
    const nWrong = sampling.wrong().length;
    const nSeen = Math.min(sampling.nSeen, sample.n);
    const done = nSeen === sample.n;
    const state = el(
      "p",
      { class: "sample-panel__state num", "aria-live": "polite", "data-testid": "sample-state" },
      `${count(nSeen)} of ${count(sample.n)} seen`,
      el("span", { class: nWrong > 0 ? "sample-panel__wrong" : "" }, `${count(nWrong)} wrong`),
    );
    const head = el(
      "p",
      { class: "sample-panel__text" },
      ...this.what(sample),
      ". Look at every patch; click what is wrong, or label it otherwise.",
    );
    const progress = el("progress", {
      class: "progress sample-panel__progress",
      max: String(sample.n),
      value: String(nSeen),
      "aria-label": "Patches seen",
    });
    return [row(head, state), progress, this.verdict(sample, nWrong, done)];
  }

  private verdict(sample: Sample, nWrong: number, done: boolean): HTMLElement {
    const { sampling } = this.controller;
    const { nMore } = sampling;
    const right = sample.n - nWrong;
    const keep =
      right > 0 &&
      done &&
      button("sample-keep", `Label the ${count(right)} right ones, end`, () => sampling.end(true), sampling.isWaiting);
    const end = button("sample-end", "End", () => sampling.end(), sampling.isWaiting);
    if (sample.stale !== "" || nMore === null) {
      const why =
        sample.stale !== ""
          ? `Can not be accepted: ${sample.stale}.`
          : `${areWrong(nWrong)}, too many for this selection. Review it by exception, or sample a purer or larger one.`;
      return row(el("p", { class: "sample-panel__text sample-panel__text--refused" }, why), keep, end);
    }
    const bound = `error below ${share(sample.max_error)} with ${share(sample.confidence)} confidence`;
    const [id, text, run, why] =
      nMore > 0
        ? ([
            "sample-more",
            `Look at ${count(nMore)} more`,
            () => sampling.lookAtMore(),
            this.whyMore(sample, nWrong, nMore),
          ] as const)
        : ([
            "sample-accept",
            `Accept ${howMany(sample, nWrong)} as ${this.nameOf(sample)}`,
            () => sampling.accept(),
            sampling.hasMarks ? `${bound}; what is marked gets no label` : bound,
          ] as const);
    const next = button(id, text, run, sampling.isWaiting || !done, "button--primary");
    next.title = done ? "Shift Enter" : "Scroll until every patch of the sample was on the screen";
    return row(
      next,
      done && el("kbd", { class: "key" }, "Shift Enter"),
      el("p", { class: "sample-panel__text muted" }, why),
      nMore > 0 && keep,
      end,
    );
  }

  private whyMore(sample: Sample, nWrong: number, nMore: number): string {
    return `${areWrong(nWrong)}. If the next ${count(nMore)} are right, ${howMany(sample, nWrong)} can be accepted.`;
  }

  private what(sample: Sample): (HTMLElement | string)[] {
    const labelClass = this.controller.project.classOf(sample.class_value);
    return [
      el("strong", { class: "num" }, `${count(sample.n)} of ${count(sample.size)}`),
      " as ",
      el("span", { class: "class-chip__swatch", style: { "--swatch": labelClass?.color ?? "transparent" } }),
      el("strong", {}, this.nameOf(sample)),
      sample.attempt > 1 ? `, attempt ${sample.attempt}` : "",
    ];
  }

  private nameOf(sample: Sample): string {
    return this.controller.project.classOf(sample.class_value)?.name ?? String(sample.class_value);
  }
}

const row = (...children: (HTMLElement | false)[]): HTMLElement =>
  el("div", { class: "sample-panel__row" }, ...children);

function button(id: string, text: string, run: () => void, disabled: boolean, kind = ""): HTMLButtonElement {
  return el(
    "button",
    { type: "button", id, class: `button button--small ${kind}`.trim(), "data-testid": id, disabled, onclick: run },
    text,
  );
}
