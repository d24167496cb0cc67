import { Emitter } from "../../state/emitter";
import { guessRole, type UploadRole } from "./roles";

export type FileState = "waiting" | "sending" | "stored" | "refused" | "failed";

export interface UploadItem {
  readonly id: number;
  readonly file: File;
  /** Path inside a dropped folder, else the file's name. */
  readonly name: string;
  role: UploadRole;
  state: FileState;
  /** Bytes that have left this machine. */
  sent: number;
  attempts: number;
  /** What the server said, or what went wrong. */
  detail: string;
  /** Whether the same file may come once more: it may have been taken out of the upload. */
  mayComeAgain: boolean;
}

export interface SendResult {
  /** 0 = no answer. */
  readonly status: number;
  readonly detail: string;
}

export type Send = (item: UploadItem, onProgress: (sent: number) => void, signal: AbortSignal) => Promise<SendResult>;

export interface UploaderOptions {
  readonly send: Send;
  readonly wait?: (ms: number) => Promise<void>;
  readonly isOnline?: () => boolean;
}

const PARALLEL = 2;
const ATTEMPTS = 4;
const FIRST_DELAY_MS = 800;
/** The session has ended: what a `send` gives where the person has to sign in again. */
export const SIGNED_OUT_STATUS = 401;

const isRetriable = (status: number): boolean =>
  status === 0 || status === 408 || status === 425 || status === 429 || status >= 500;

/** Sends files two at a time. Retries what may pass the next time, waits while offline, and keeps what failed for resume. */
export class Uploader extends Emitter<"items" | "progress" | "done"> {
  readonly items: UploadItem[] = [];
  private nextId = 1;
  private running = 0;
  private announced = true;
  private readonly abort = new AbortController();
  private readonly wait: (ms: number) => Promise<void>;
  private readonly isOnline: () => boolean;

  constructor(private readonly options: UploaderOptions) {
    super();
    this.wait = options.wait ?? ((ms) => new Promise((resolve) => setTimeout(resolve, ms)));
    this.isOnline = options.isOnline ?? (() => navigator.onLine);
  }

  get isBusy(): boolean {
    return this.items.some((item) => item.state === "waiting" || item.state === "sending");
  }

  get failed(): readonly UploadItem[] {
    return this.items.filter((item) => item.state === "failed");
  }

  add(files: readonly { readonly file: File; readonly path: string }[]): void {
    for (const { file, path } of files) {
      const known = this.items.some(
        (item) =>
          item.name === path &&
          item.file.size === file.size &&
          item.file.lastModified === file.lastModified &&
          item.state !== "refused" &&
          !item.mayComeAgain,
      );
      if (known) continue;
      this.items.push({
        id: this.nextId++,
        file,
        name: path,
        role: guessRole(path),
        state: "waiting",
        sent: 0,
        attempts: 0,
        detail: "",
        mayComeAgain: false,
      });
      this.announced = false;
    }
    this.emit("items");
    this.pump();
  }

  /** Take up again what failed, and what waits for the network. */
  resume(): void {
    for (const item of this.failed) {
      item.state = "waiting";
      item.attempts = 0;
      item.detail = "";
      this.announced = false;
    }
    this.emit("items");
    this.pump();
  }

  /** Something was taken out of what is stored: whoever drops a file again means it. The server knows what it has already. */
  filesWereRemoved(): void {
    for (const item of this.items) item.mayComeAgain ||= item.state === "stored";
  }

  stop(): void {
    this.abort.abort();
  }

  private pump(): void {
    if (this.abort.signal.aborted) return;
    while (this.running < PARALLEL && this.isOnline()) {
      const item = this.items.find((candidate) => candidate.state === "waiting");
      if (item === undefined) break;
      this.running++;
      void this.transfer(item).finally(() => {
        this.running--;
        this.emit("items");
        this.pump();
      });
    }
    if (!this.isBusy && !this.announced) {
      this.announced = true;
      this.emit("done");
    }
  }

  private async transfer(item: UploadItem): Promise<void> {
    item.state = "sending";
    this.emit("items");
    for (;;) {
      item.attempts++;
      item.sent = 0;
      const progress = (sent: number) => {
        item.sent = sent;
        this.emit("progress");
      };
      const result = await this.options.send(item, progress, this.abort.signal);
      if (this.abort.signal.aborted) return;
      item.detail = result.detail;
      if (result.status >= 200 && result.status < 300) {
        item.sent = item.file.size;
        item.state = "stored";
        return;
      }
      item.sent = 0;
      if (result.status === SIGNED_OUT_STATUS) {
        // The person can help here, and no trying again.
        item.state = "failed";
        return;
      }
      if (!isRetriable(result.status)) {
        item.state = "refused";
        return;
      }
      if (!this.isOnline()) {
        // Not the file's fault: it goes back in line until the network returns.
        item.state = "waiting";
        item.attempts--;
        return;
      }
      if (item.attempts >= ATTEMPTS) {
        item.state = "failed";
        return;
      }
      this.emit("items");
      await this.wait(FIRST_DELAY_MS * 2 ** (item.attempts - 1));
    }
  }
}
