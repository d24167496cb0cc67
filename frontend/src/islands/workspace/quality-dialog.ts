import { fetchQuality } from "../../api/projects";
import { qualityPanel } from "../../charts/quality";
import { el, ICONS, icon } from "../../lib/dom";
import { messageOf, type WorkspaceController } from "./controller";

/** How good the predictions on the screen are; follows them while it is open. */
export class QualityDialog {
  readonly element: HTMLDialogElement;
  private readonly body: HTMLElement;
  private readonly unsubscribe: () => void;

  constructor(private readonly controller: WorkspaceController) {
    this.body = el("div", { class: "dialog__body" });
    this.element = el(
      "dialog",
      { class: "dialog dialog--wide", "aria-labelledby": "quality-title", "data-testid": "quality-dialog" },
      el(
        "header",
        { class: "dialog__header" },
        el("h2", { class: "dialog__title", id: "quality-title" }, "How good the predictions are"),
        el(
          "button",
          {
            type: "button",
            class: "button button--quiet button--icon button--small",
            "aria-label": "Close",
            onclick: () => this.element.close(),
          },
          icon(ICONS.close),
        ),
      ),
      this.body,
    );
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) this.element.close();
    });
    this.unsubscribe = controller.project.on("predictions", () => {
      if (this.element.open) void this.load();
    });
  }

  destroy(): void {
    this.unsubscribe();
  }

  open(): void {
    this.element.showModal();
    void this.load();
  }

  private async load(): Promise<void> {
    const { api, projectId } = this.controller.config;
    try {
      this.body.replaceChildren(qualityPanel(await fetchQuality(api, projectId)));
    } catch (error) {
      this.body.replaceChildren(el("p", { class: "muted" }, messageOf(error)));
    }
  }
}
