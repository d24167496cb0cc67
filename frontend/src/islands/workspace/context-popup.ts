import { messageOf } from "../../api/http";
import { fetchObject, patchUrl } from "../../api/objects";
import type { ObjectDetail } from "../../api/types";
import { el, ICONS, icon, placeInWindow } from "../../lib/dom";
import { ago, count, percent, share } from "../../lib/format";
import type { WorkspaceController } from "./controller";

const SIZE_PX = 360;

/** The surroundings of one object, with its outline: for the eye only. Labeling keys keep working beside it. */
export class ContextPopup {
  private readonly root: HTMLElement;
  private readonly picture: HTMLElement;
  private readonly facts: HTMLElement;
  private readonly title: HTMLElement;
  private readonly outlineButton: HTMLButtonElement;
  private outline = true;
  private place: [number, number] = [0, 0];
  private request: AbortController | null = null;
  private readonly subscription: () => void;
  ordinal = -1;

  constructor(private readonly controller: WorkspaceController) {
    this.title = el("h2", { class: "context__title" });
    this.picture = el("div", { class: "context__picture" });
    this.facts = el("dl", { class: "facts context__facts" });
    this.outlineButton = el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small",
        "aria-pressed": "true",
        title: "Show or hide the outline of the object",
        onclick: () => {
          this.outline = !this.outline;
          this.outlineButton.setAttribute("aria-pressed", String(this.outline));
          this.showPicture();
        },
      },
      icon(ICONS.outline),
      "Outline",
    );
    this.root = el(
      "div",
      {
        class: "context",
        role: "dialog",
        "aria-label": "Surroundings of the object",
        hidden: true,
        "data-testid": "context",
      },
      el(
        "header",
        { class: "context__header" },
        this.title,
        this.outlineButton,
        el(
          "button",
          {
            type: "button",
            class: "button button--quiet button--small button--icon",
            "aria-label": "Close",
            title: "Close (Esc)",
            onclick: () => this.close(),
          },
          icon(ICONS.close),
        ),
      ),
      this.picture,
      this.facts,
    );
    this.picture.addEventListener("click", () => this.close());
    this.root.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      this.close();
    });
    document.body.append(this.root);
    document.addEventListener("pointerdown", this.outside);
    this.subscription = controller.labels.on("labels", () => {
      if (this.isOpen) void this.loadFacts();
    });
  }

  destroy(): void {
    this.request?.abort();
    this.subscription();
    document.removeEventListener("pointerdown", this.outside);
    this.root.remove();
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  open(ordinal: number, x: number, y: number): void {
    this.ordinal = ordinal;
    this.title.textContent = `Object ${count(ordinal)}`;
    this.root.hidden = false;
    this.showPicture();
    this.facts.replaceChildren(...this.knownFacts());
    this.place = [x + 12, y + 12];
    placeInWindow(this.root, ...this.place);
    void this.loadFacts();
  }

  close(): void {
    this.request?.abort();
    this.root.hidden = true;
    this.ordinal = -1;
  }

  private readonly outside = (event: PointerEvent): void => {
    if (this.isOpen && event.button === 0 && event.target instanceof Node && !this.root.contains(event.target))
      this.close();
  };

  private showPicture(): void {
    const { api, projectId } = this.controller.config;
    const px = SIZE_PX * (window.devicePixelRatio > 1 ? 2 : 1);
    this.picture.replaceChildren(
      el("img", {
        width: SIZE_PX,
        height: SIZE_PX,
        alt: `Surroundings of object ${this.ordinal}`,
        src: patchUrl(api, projectId, this.ordinal, "context", px, this.outline),
      }),
    );
  }

  private async loadFacts(): Promise<void> {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    const { ordinal } = this;
    try {
      const { api, projectId } = this.controller.config;
      const detail = await fetchObject(api, projectId, ordinal, { signal: request.signal });
      if (this.ordinal !== ordinal) return;
      this.facts.replaceChildren(...this.knownFacts(), ...this.fetchedFacts(detail));
      // Taller now: it must not reach below the window.
      placeInWindow(this.root, ...this.place);
    } catch (error) {
      if (!request.signal.aborted) this.facts.append(...fact("Details", messageOf(error)));
    }
  }

  /** The whole image, with all its objects, is a page of its own. */
  private whereItIs({ image, label_id: labelId }: ObjectDetail): HTMLElement[] {
    const href = `${this.controller.config.imagesUrl}${image.id}/`;
    const link = el("a", { href, target: "_blank", title: "The whole image, with all its objects" }, image.name);
    return [el("dt", {}, "Image"), el("dd", {}, el("span", {}, link, `, label_id ${labelId}`))];
  }

  private knownFacts(): HTMLElement[] {
    const { project, labels } = this.controller;
    const predicted = project.classOf(project.predictions[this.ordinal] ?? 0);
    const labeled = project.classOf(labels.shown[this.ordinal] ?? 0);
    return [
      ...fact(
        "Predicted",
        predicted?.name ?? "no class yet",
        predicted?.color,
        predicted === undefined ? "" : percent(project.confidences[this.ordinal]! / 255),
      ),
      ...fact("Label", labeled?.name ?? "none", labeled?.color),
    ];
  }

  private fetchedFacts(detail: ObjectDetail): HTMLElement[] {
    const { label } = detail;
    return [
      ...(label === null
        ? []
        : fact(
            "Labeled by",
            `${label.by ?? "the server"}, ${ago(label.at, Date.now())} (${label.provenance}${label.on_screen === false && label.sample === null ? ", not on the screen" : ""})`,
          )),
      ...(label?.sample == null ? [] : fact("Not seen", claimText(label.sample))),
      ...this.whereItIs(detail),
      ...fact("Place", `row ${Math.round(detail.row)}, column ${Math.round(detail.column)}`),
      ...fact("Area", `${count(detail.area)} px`),
    ];
  }
}

function claimText(sample: NonNullable<NonNullable<ObjectDetail["label"]>["sample"]>): string {
  const { n, wrong, size, bound, confidence } = sample;
  const found = wrong > 0 ? ` and ${count(wrong)} found wrong` : "";
  return `one of ${count(size)}, accepted after ${count(n)} were seen${found}; at most ${share(bound)} of them wrong (${share(confidence)} confidence)`;
}

function fact(name: string, value: string, color?: string, rest = ""): HTMLElement[] {
  return [
    el("dt", {}, name),
    el(
      "dd",
      {},
      color !== undefined && el("span", { class: "class-chip__swatch", style: { "--swatch": color } }),
      rest === "" ? value : `${value}, ${rest}`,
    ),
  ];
}
