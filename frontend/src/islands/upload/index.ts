import { csrfToken, detailOfBody, isSignedOut } from "../../api/http";
import { el } from "../../lib/dom";
import { bytes, count, plural } from "../../lib/format";
import { loadInto } from "../../pages/htmx";
import type { Island } from "../mount";
import { type FileState, type SendResult, SIGNED_OUT_STATUS, Uploader, type UploadItem } from "./uploader";

/** What somebody wrote and chose in the review: it comes along where the review is asked for anew. */
const WRITTEN = "[name^='value_'], [name^='color_'], select[data-chosen]";
const ACCEPT = ".png,.jpg,.jpeg,.bmp,.tif,.tiff,.csv";

const ROLE_NAMES: Record<UploadItem["role"], string> = {
  image: "Image",
  mask: "Mask",
  csv: "Points",
  values: "Label values",
};

const STATE_NAMES: Record<FileState, string> = {
  waiting: "Waiting",
  sending: "",
  stored: "Stored",
  refused: "Refused",
  failed: "Failed",
};

/** Drag and drop of several files or folders, with progress per file. When all are stored it asks for the review. */
export class UploadIsland implements Island {
  private readonly uploader: Uploader;
  private readonly list = el("ul", { class: "upload__list", hidden: true, "data-testid": "upload-files" });
  private readonly summary = el("div", { class: "upload__summary", hidden: true });
  private readonly rows = new Map<number, HTMLElement>();
  private readonly subscriptions: (() => void)[];

  constructor(private readonly element: HTMLElement) {
    this.uploader = new Uploader({ send: (item, onProgress, signal) => this.send(item, onProgress, signal) });
    const files = this.picker(false);
    const folder = this.picker(true);
    const zone = el(
      "div",
      { class: "dropzone", "data-testid": "dropzone" },
      el("p", { class: "dropzone__title" }, "Drop images and masks here"),
      el(
        "p",
        { class: "dropzone__hint" },
        "PNG, JPEG, BMP, TIFF and CSV, or a folder with images/ and masks/. " +
          "A mask has the name of its image, or the same name with _mask.",
      ),
      el(
        "div",
        { class: "dropzone__actions" },
        el("button", { type: "button", class: "button button--primary", onclick: () => files.click() }, "Choose files"),
        el("button", { type: "button", class: "button", onclick: () => folder.click() }, "Choose a folder"),
      ),
      files,
      folder,
    );
    this.listenToDrops(zone);
    element.classList.add("upload");
    element.replaceChildren(zone, this.summary, this.list);
    this.subscriptions = [
      this.uploader.on("items", () => this.draw()),
      this.uploader.on("progress", () => this.drawProgress()),
      this.uploader.on("done", () => void this.finish()),
    ];
    window.addEventListener("online", this.cameOnline);
    window.addEventListener("offline", this.wentOffline);
    window.addEventListener("beforeunload", this.warnBeforeLeaving);
    document.addEventListener("click", this.clicked);
  }

  destroy(): void {
    this.uploader.stop();
    for (const end of this.subscriptions) end();
    window.removeEventListener("online", this.cameOnline);
    window.removeEventListener("offline", this.wentOffline);
    window.removeEventListener("beforeunload", this.warnBeforeLeaving);
    document.removeEventListener("click", this.clicked);
  }

  private picker(folder: boolean): HTMLInputElement {
    const input = el("input", {
      type: "file",
      multiple: true,
      hidden: true,
      accept: folder ? undefined : ACCEPT,
      webkitdirectory: folder,
      "aria-label": folder ? "Folder to upload" : "Files to upload",
      "data-testid": folder ? "upload-folder" : "upload-input",
      onchange: () => {
        this.take(Array.from(input.files ?? [], (file) => ({ file, path: file.webkitRelativePath || file.name })));
        input.value = "";
      },
    });
    return input;
  }

  private listenToDrops(zone: HTMLElement): void {
    const over = (on: boolean) => zone.classList.toggle("dropzone--over", on);
    zone.addEventListener("dragover", (event) => {
      event.preventDefault();
      over(true);
    });
    zone.addEventListener("dragleave", (event) => {
      if (!(event.relatedTarget instanceof Node && zone.contains(event.relatedTarget))) over(false);
    });
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      over(false);
      if (event.dataTransfer !== null) void droppedFiles(event.dataTransfer).then((files) => this.take(files));
    });
  }

  private take(files: readonly { readonly file: File; readonly path: string }[]): void {
    const hidden = (path: string) => path.split("/").some((part) => part.startsWith("."));
    this.uploader.add(files.filter(({ path }) => !hidden(path)));
  }

  private send(item: UploadItem, onProgress: (sent: number) => void, signal: AbortSignal): Promise<SendResult> {
    // fetch does not report how much has been sent; XMLHttpRequest does.
    return new Promise((resolve) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.element.dataset["uploadUrl"] ?? "");
      request.setRequestHeader("X-CSRFToken", csrfToken());
      request.setRequestHeader("Accept", "application/json");
      request.upload.onprogress = (event) => onProgress(Math.min(event.loaded, item.file.size));
      request.onload = () => {
        const detail = detailOfBody(request.responseText);
        if (isSignedOut(request.status, detail)) {
          resolve({
            status: SIGNED_OUT_STATUS,
            detail: "You have been signed out. Sign in again in another tab, then press Resume.",
          });
          return;
        }
        const fallback = request.status >= 400 ? `The server answered with an error (${request.status}).` : "";
        resolve({ status: request.status, detail: detail === "" ? fallback : detail });
      };
      request.onerror = () => resolve({ status: 0, detail: "The server does not answer." });
      request.onabort = () => resolve({ status: 0, detail: "Stopped" });
      signal.addEventListener("abort", () => request.abort(), { once: true });
      const form = new FormData();
      form.set("role", item.role);
      form.set("name", item.name);
      form.set("file", item.file, item.file.name);
      request.send(form);
    });
  }

  private draw(): void {
    const { items } = this.uploader;
    this.list.hidden = items.length === 0;
    for (const item of items) {
      let row = this.rows.get(item.id);
      if (row === undefined) {
        row = el("li", { class: "upload__file" });
        this.rows.set(item.id, row);
        this.list.append(row);
      }
      const key = `${item.state}|${item.attempts}|${item.detail}`;
      if (row.dataset["drawn"] === key) continue;
      row.dataset["drawn"] = key;
      row.dataset["state"] = item.state;
      const bar = el("progress", { class: "progress", max: "1", "aria-label": `Progress of ${item.name}` });
      bar.value = item.state === "stored" ? 1 : 0;
      const again = item.state === "sending" && item.attempts > 1 ? `Try ${item.attempts}` : STATE_NAMES[item.state];
      row.replaceChildren(
        el("span", { class: "upload__name", title: item.name }, item.name),
        el("span", { class: "badge badge--neutral" }, ROLE_NAMES[item.role]),
        el("span", { class: "upload__size" }, bytes(item.file.size)),
        bar,
        el("span", { class: "upload__state" }, again),
      );
      if (item.detail !== "" && item.state !== "sending")
        row.append(el("span", { class: "upload__error" }, item.detail));
    }
    this.drawSummary();
    this.drawProgress();
  }

  private drawProgress(): void {
    for (const item of this.uploader.items) {
      const row = this.rows.get(item.id);
      const bar = row?.querySelector("progress");
      if (row === undefined || bar === null || bar === undefined || item.state !== "sending") continue;
      bar.value = item.file.size === 0 ? 1 : item.sent / item.file.size;
    }
    const bar = this.summary.querySelector("progress");
    if (bar !== null) bar.value = this.fraction;
  }

  private get fraction(): number {
    let total = 0;
    let sent = 0;
    for (const item of this.uploader.items) {
      total += item.file.size + 1;
      sent += item.state === "stored" ? item.file.size + 1 : item.sent;
    }
    return total === 0 ? 0 : sent / total;
  }

  private drawSummary(): void {
    const { items, failed } = this.uploader;
    this.summary.hidden = items.length === 0;
    const stored = items.filter((item) => item.state === "stored").length;
    const refused = items.filter((item) => item.state === "refused").length;
    const bar = el("progress", { class: "progress", max: "1", "aria-label": "Progress of all files" });
    bar.value = this.fraction;
    const parts = [`${count(stored)} of ${plural(items.length, "file")} stored`];
    if (refused > 0) parts.push(`${count(refused)} refused`);
    if (!navigator.onLine && this.uploader.isBusy) parts.push("offline: goes on by itself");
    this.summary.replaceChildren(el("span", { class: "num", role: "status" }, parts.join(", ")), bar);
    if (failed.length > 0) {
      this.summary.append(
        el(
          "button",
          { type: "button", class: "button button--small", onclick: () => this.uploader.resume() },
          `Resume ${plural(failed.length, "file")}`,
        ),
      );
    }
  }

  private async finish(): Promise<void> {
    const { items } = this.uploader;
    if (!items.some((item) => item.state === "stored") || this.uploader.failed.length > 0) return;
    const { reviewUrl, reviewTarget } = this.element.dataset;
    if (reviewUrl === undefined || reviewTarget === undefined) return;
    const written = document.querySelectorAll<HTMLInputElement | HTMLSelectElement>(`${reviewTarget} :is(${WRITTEN})`);
    await loadInto(
      reviewUrl,
      reviewTarget,
      Object.fromEntries(Array.from(written, ({ name, value }) => [name, value])),
    );
    document.querySelector(reviewTarget)?.scrollIntoView({ block: "nearest" });
  }

  private readonly clicked = (event: MouseEvent): void => {
    if (event.target instanceof Element && event.target.closest("[data-removes-file]") !== null)
      this.uploader.filesWereRemoved();
  };

  private readonly cameOnline = (): void => this.uploader.resume();
  private readonly wentOffline = (): void => this.draw();

  private readonly warnBeforeLeaving = (event: BeforeUnloadEvent): void => {
    if (this.uploader.isBusy) event.preventDefault();
  };
}

/** The files of a drop, with those inside dropped folders. */
async function droppedFiles(transfer: DataTransfer): Promise<{ file: File; path: string }[]> {
  // The list of items is emptied as soon as this function first waits: take everything out before.
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const plain = Array.from(transfer.files, (file) => ({ file, path: file.name }));
  if (entries.length === 0) return plain;
  const found: { file: File; path: string }[] = [];
  const walk = async (entry: FileSystemEntry): Promise<void> => {
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      found.push({ file, path: entry.fullPath.replace(/^\//, "") });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      // A reader gives at most a hundred entries at a time, and none at the end.
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const inner of some) await walk(inner);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}
