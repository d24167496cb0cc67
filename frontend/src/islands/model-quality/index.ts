import { fetchQuality } from "../../api/projects";
import { qualityPanel } from "../../charts/quality";
import type { Island } from "../mount";

/** <div data-island="model-quality" data-project-id="1">: how good the predictions of a project are now; with
 * data-embedding="2", how good the last ones on that map were. */
export class ModelQualityIsland implements Island {
  private readonly lifetime = new AbortController();

  constructor(private readonly element: HTMLElement) {
    void this.load();
  }

  destroy(): void {
    this.lifetime.abort();
  }

  private async load(): Promise<void> {
    const { projectId, embedding, api } = this.element.dataset;
    try {
      const answer = await fetchQuality(api ?? "/api/v1", projectId ?? "", embedding, {
        signal: this.lifetime.signal,
      });
      this.element.replaceChildren(qualityPanel(answer));
    } catch (error) {
      // What the server wrote there stays: the same in fewer words.
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not fetch the quality:", error);
    }
  }
}
