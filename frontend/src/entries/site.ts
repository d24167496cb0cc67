import "../styles/tokens.css";
import "../styles/base.css";
import "../styles/components.css";
import "../styles/pages.css";
import { ImageObjectsIsland } from "../islands/image-objects";
import { JobProgressIsland } from "../islands/job-progress";
import { ModelQualityIsland } from "../islands/model-quality";
import { destroyIslands, mountIslands } from "../islands/mount";
import { QuickReviewIsland } from "../islands/quick-review";
import { UploadIsland } from "../islands/upload";
import { decorate, setUpBehaviors, toast } from "../pages/behaviors";
import { onRequestFailed, setUpHtmx } from "../pages/htmx";
import { endLive, startLive } from "../pages/live";
import { guardUnsaved } from "../pages/unsaved";

const ISLANDS = {
  "image-objects": ImageObjectsIsland,
  "job-progress": JobProgressIsland,
  "model-quality": ModelQualityIsland,
  "quick-review": QuickReviewIsland,
  upload: UploadIsland,
};

function enter(root: ParentNode): void {
  decorate(root);
  mountIslands(root, ISLANDS);
  startLive(root);
}

function leave(root: ParentNode): void {
  destroyIslands(root);
  endLive(root);
}

setUpBehaviors();
onRequestFailed((text) => toast(text, "danger"));
setUpHtmx(enter, leave);
guardUnsaved();
enter(document);
