import { Emitter } from "../../state/emitter";
import type { FilterStore } from "../../state/filters";
import type { LabelsStore } from "../../state/labels";
import type { Notice, NoticeStore } from "../../state/notices";
import type { ProjectStore } from "../../state/project";
import type { SeenStore } from "../../state/seen";
import type { SelectionStore } from "../../state/selection";
import type { WorkspaceConfig, WorkspaceController } from "./controller";

/** One thing that the labeling screen can do. It works on the stores that all share, and asks other parts by the controller. */
export abstract class Part<Topic extends string = never> extends Emitter<Topic> {
  constructor(protected readonly controller: WorkspaceController) {
    super();
  }

  protected get config(): WorkspaceConfig {
    return this.controller.config;
  }

  protected get project(): ProjectStore {
    return this.controller.project;
  }

  protected get labels(): LabelsStore {
    return this.controller.labels;
  }

  protected get selection(): SelectionStore {
    return this.controller.selection;
  }

  protected get seen(): SeenStore {
    return this.controller.seen;
  }

  protected get filters(): FilterStore {
    return this.controller.filters;
  }

  protected get notices(): NoticeStore {
    return this.controller.notices;
  }

  /** Ends with the page: what is asked for the screen only need not outlive it. */
  protected get signal(): AbortSignal {
    return this.controller.signal;
  }

  protected notify(notice: Notice): void {
    this.notices.show(notice);
  }
}
