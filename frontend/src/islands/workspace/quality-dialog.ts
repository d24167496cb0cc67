import { messageOf } from "../../api/http";
import { fetchQuality } from "../../api/projects";
import { qualityPanel } from "../../charts/quality";
import { createDialog } from "../../lib/dialog";
import { el } from "../../lib/dom";
import type { WorkspaceController } from "./controller";

/** How good the predictions on the screen are; follows them while it is open. */
export class QualityDialog {
  readonly element: HTMLDialogElement;
  private readonly body: HTMLElement;
  private readonly unsubscribe: () => void;

  constructor(private readonly controller: WorkspaceController) {
    this.body = el("div", { class: "dialog__body" });
    this.element = createDialog({ name: "quality", title: "How good the predictions are", wide: true }, this.body);
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
