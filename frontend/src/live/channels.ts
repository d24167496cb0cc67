import type { ProjectEvent } from "./events";
import { ProjectSocket } from "./socket";

type Listener = (event: ProjectEvent | { readonly type: "reconnected" }) => void;

interface Channel {
  readonly socket: ProjectSocket;
  readonly listeners: Set<Listener>;
}

const channels = new Map<string, Channel>();

/** Listen to a project; one socket serves all listeners of a page. Returns the function that ends it. */
export function listenToProject(projectId: string, listener: Listener): () => void {
  let channel = channels.get(projectId);
  if (channel === undefined) {
    const listeners = new Set<Listener>();
    const tell: Listener = (event) => {
      for (const each of [...listeners]) each(event);
    };
    const socket = new ProjectSocket({
      projectId,
      onEvent: tell,
      onStatus: () => undefined,
      onConnected: () => tell({ type: "reconnected" }),
    });
    channel = { socket, listeners };
    channels.set(projectId, channel);
  }
  const { socket, listeners } = channel;
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0 && channels.get(projectId)?.socket === socket) {
      channels.delete(projectId);
      socket.close();
    }
  };
}
