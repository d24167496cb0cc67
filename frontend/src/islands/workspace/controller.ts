import { ActionQueue } from "../../state/action-queue";
import { Activity } from "../../state/activity";
import { Emitter } from "../../state/emitter";
import { COLOR_MODES, type ColorMode, FilterStore } from "../../state/filters";
import { LabelsStore } from "../../state/labels";
import { NoticeStore } from "../../state/notices";
import { ProjectStore } from "../../state/project";
import { SeenStore } from "../../state/seen";
import { SelectionStore } from "../../state/selection";
import { SuggestionStore } from "../../state/suggestions";
import { ViewportStore } from "../../state/viewport";
import { GestureHistory } from "./history";
import { Jobs } from "./jobs";
import { LabelChanges } from "./label-changes";
import { Labeling } from "./labeling";
import { WhatIsNext } from "./next";
import { loadPreferences, type Preferences, savePreferences } from "./preferences";
import { ShownRegion } from "./region";
import { Sampling } from "./sampling";
import { SimilarSearch } from "./similar";
import { Sync } from "./sync";

export interface WorkspaceConfig {
  readonly api: string;
  readonly projectId: string;
  readonly projectName: string;
  readonly userId: string;
  readonly userName: string;
  readonly homeUrl: string;
  readonly projectUrl: string;
  readonly imagesUrl: string;
  readonly jobsUrl: string;
  /** Where to begin: the objects of this image. */
  readonly imageId: number | null;
  /** And this one of them. */
  readonly ordinal: number | null;
}

/** Everything the labeling screen can do, without a pixel of it: the stores, the parts that work on them, and how the person
 * wants to see it. The views only call this. */
export class WorkspaceController extends Emitter<"tool" | "outline"> {
  readonly project = new ProjectStore();
  readonly labels = new LabelsStore();
  readonly selection = new SelectionStore();
  readonly seen = new SeenStore();
  readonly filters = new FilterStore();
  readonly viewport = new ViewportStore();
  readonly suggestions = new SuggestionStore();
  readonly queue = new ActionQueue();
  readonly activity = new Activity();
  readonly notices = new NoticeStore();
  readonly preferences: Preferences = loadPreferences();

  readonly region: ShownRegion;
  readonly labeling: Labeling;
  readonly history: GestureHistory;
  readonly labelChanges: LabelChanges;
  readonly sampling: Sampling;
  readonly next: WhatIsNext;
  readonly similar: SimilarSearch;
  readonly jobs: Jobs;
  readonly sync: Sync;

  tool: "lasso" | "pan" = "lasso";
  private colorChosen = false;
  private readonly lifetime = new AbortController();

  constructor(readonly config: WorkspaceConfig) {
    super();
    const { color } = this.preferences;
    if ((COLOR_MODES as readonly string[]).includes(color)) {
      this.filters.color = color as ColorMode;
      this.colorChosen = true;
    }
    this.region = new ShownRegion(this);
    this.labeling = new Labeling(this);
    this.history = new GestureHistory(this);
    this.labelChanges = new LabelChanges(this);
    this.sampling = new Sampling(this);
    this.next = new WhatIsNext(this);
    this.similar = new SimilarSearch(this);
    this.jobs = new Jobs(this);
    this.sync = new Sync(this);
    this.selection.on(["picks", "cursor"], () => {
      if (this.selection.pickedCount > 0 || this.selection.cursorByKeyboard) this.notices.dismissTopic("hint");
    });
    this.seen.on("seen", () => this.labeling.leaveLabeled());
    this.filters.on("colors", () => {
      void this.sync.loadColors();
    });
  }

  destroy(): void {
    this.lifetime.abort();
    this.next.destroy();
    this.sampling.destroy();
    this.sync.destroy();
  }

  get signal(): AbortSignal {
    return this.lifetime.signal;
  }

  setColor(color: ColorMode): void {
    this.colorChosen = true;
    // Discordance is looked for now and then; a project without labels would open all in gray.
    if (color !== "discordance") this.savePreferences({ color });
    this.filters.setColor(color);
  }

  nextColor(): void {
    this.setColor(COLOR_MODES[(COLOR_MODES.indexOf(this.filters.color) + 1) % COLOR_MODES.length]!);
  }

  /** Until the user chooses: predictions once there are any, labels before, as nothing else would show a color. */
  chooseColor(): void {
    if (this.colorChosen) return;
    const color: ColorMode = this.project.predictions.some((value) => value !== 0) ? "prediction" : "label";
    if (color !== this.filters.color) this.filters.setColor(color);
  }

  setTool(tool: "lasso" | "pan"): void {
    this.tool = tool;
    this.emit("tool");
  }

  toggleOutline(): void {
    this.savePreferences({ outline: !this.preferences.outline });
    this.emit("outline");
  }

  savePreferences(changes: Partial<Preferences>): void {
    Object.assign(this.preferences, changes);
    savePreferences(this.preferences);
  }
}
