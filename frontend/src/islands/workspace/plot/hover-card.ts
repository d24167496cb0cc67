import { patchUrl } from "../../../api/objects";
import { el, placeInWindow } from "../../../lib/dom";
import { percent } from "../../../lib/format";
import type { WorkspaceController } from "../controller";

const DELAY_MS = 90;
const KEPT_IMAGES = 300;
const SIZE_PX = 140;

/** The patch of the point under the pointer. Images are kept: going back over a place asks the server nothing. */
export class HoverCard {
  private readonly root: HTMLElement;
  private readonly picture: HTMLElement;
  private readonly prediction: HTMLElement;
  private readonly label: HTMLElement;
  private readonly images = new Map<number, HTMLImageElement>();
  private timer: number | undefined;
  private shown = -1;

  constructor(private readonly controller: WorkspaceController) {
    this.picture = el("div", { class: "hover-card__picture" });
    this.prediction = el("div", { class: "hover-card__line" });
    this.label = el("div", { class: "hover-card__line" });
    this.root = el(
      "div",
      { class: "hover-card", hidden: true, "data-testid": "hover-card" },
      this.picture,
      this.prediction,
      this.label,
    );
    document.body.append(this.root);
  }

  show(ordinal: number, x: number, y: number): void {
    window.clearTimeout(this.timer);
    if (ordinal < 0) {
      this.hide();
      return;
    }
    if (ordinal === this.shown) {
      placeInWindow(this.root, x + 18, y + 14);
      return;
    }
    this.timer = window.setTimeout(() => this.open(ordinal, x, y), this.shown >= 0 ? DELAY_MS / 3 : DELAY_MS);
  }

  hide(): void {
    window.clearTimeout(this.timer);
    this.shown = -1;
    this.root.hidden = true;
  }

  destroy(): void {
    window.clearTimeout(this.timer);
    this.root.remove();
  }

  private open(ordinal: number, x: number, y: number): void {
    const { project, labels } = this.controller;
    this.shown = ordinal;
    const predicted = project.predictions[ordinal] ?? 0;
    const labeled = labels.shown[ordinal] ?? 0;
    this.describe(
      this.prediction,
      "Model",
      predicted,
      predicted === 0 ? "no class yet" : ` ${percent(project.confidences[ordinal]! / 255)}`,
    );
    this.describe(
      this.label,
      "Label",
      labeled,
      labeled === 0 ? "none" : labels.unseen[ordinal] === 1 ? " by sample" : "",
    );
    this.picture.replaceChildren(this.image(ordinal));
    this.root.hidden = false;
    placeInWindow(this.root, x + 18, y + 14);
  }

  private describe(line: HTMLElement, title: string, value: number, rest: string): void {
    const labelClass = this.controller.project.classOf(value);
    line.replaceChildren(
      el("span", { class: "muted" }, title),
      ...(labelClass === undefined
        ? []
        : [el("span", { class: "class-chip__swatch", style: { "--swatch": labelClass.color } })]),
      `${labelClass?.name ?? ""}${rest}`,
    );
  }

  private image(ordinal: number): HTMLImageElement {
    const known = this.images.get(ordinal);
    if (known !== undefined) return known;
    const { api, projectId } = this.controller.config;
    const image = el("img", {
      alt: `Patch of object ${ordinal}`,
      width: SIZE_PX,
      height: SIZE_PX,
      src: patchUrl(api, projectId, ordinal, "patch", SIZE_PX * 2, false),
    });
    this.images.set(ordinal, image);
    if (this.images.size > KEPT_IMAGES) this.images.delete(this.images.keys().next().value!);
    return image;
  }
}
