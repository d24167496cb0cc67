import { type ProjectEvent, parseEvent } from "./events";

export type SocketStatus = "connecting" | "live" | "waiting" | "offline" | "refused";

/** Closed by the server with one of these: no use in trying again. */
const REFUSED_CODES = new Set([4401, 4403, 4404]);
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;

/** The delay before attempt k (from 0): doubling, with jitter, so that a restarted server is not stormed. */
export function reconnectDelay(attempt: number, random: () => number = Math.random): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** attempt);
  return full * (0.5 + random() / 2);
}

export interface ProjectSocketOptions {
  readonly projectId: string;
  onEvent(event: ProjectEvent): void;
  onStatus(status: SocketStatus): void;
  /** After every connection, the first too: what happened since the page asked for the state must be asked for. */
  onConnected(): void;
}

/** One project's event stream. Reconnects for as long as it lives; sends nothing. */
export class ProjectSocket {
  private socket: WebSocket | null = null;
  private attempt = 0;
  private timer: number | undefined;
  private closed = false;

  constructor(private readonly options: ProjectSocketOptions) {
    window.addEventListener("online", this.retryNow);
    window.addEventListener("offline", this.wentOffline);
    this.connect();
  }

  close(): void {
    this.closed = true;
    window.clearTimeout(this.timer);
    window.removeEventListener("online", this.retryNow);
    window.removeEventListener("offline", this.wentOffline);
    this.socket?.close();
  }

  private readonly retryNow = (): void => {
    if (this.closed || this.socket?.readyState === WebSocket.OPEN) return;
    window.clearTimeout(this.timer);
    this.attempt = 0;
    this.connect();
  };

  private readonly wentOffline = (): void => {
    this.options.onStatus("offline");
    this.socket?.close();
  };

  private connect(): void {
    this.options.onStatus("connecting");
    const url = new URL(`/ws/projects/${this.options.projectId}/`, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onopen = () => {
      this.attempt = 0;
      this.options.onStatus("live");
      this.options.onConnected();
    };
    socket.onmessage = (message) => {
      const event = parseEvent(message.data);
      if (event !== null) this.options.onEvent(event);
    };
    socket.onclose = (close) => {
      if (this.closed || this.socket !== socket) return;
      if (REFUSED_CODES.has(close.code)) {
        this.options.onStatus("refused");
        return;
      }
      this.options.onStatus(navigator.onLine ? "waiting" : "offline");
      this.timer = window.setTimeout(() => this.connect(), reconnectDelay(this.attempt++));
    };
  }
}
