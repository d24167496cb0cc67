import "../styles/tokens.css";
import "../styles/base.css";
import "../styles/components.css";
import "../styles/workspace.css";
import { mountIslands } from "../islands/mount";
import { WorkspaceIsland } from "../islands/workspace";

mountIslands(document, { workspace: WorkspaceIsland });
