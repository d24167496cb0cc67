import { el, ICONS, icon } from "../../lib/dom";
import type { Notice } from "./controller";

const DURATION_MS = 6000;
const MOST = 3;

/** Short messages at the lower right, read out by screen readers. */
export class Toasts {
  readonly element: HTMLElement = el("div", {
    class: "toast-region",
    role: "log",
    "aria-live": "polite",
    "aria-label": "Messages",
    "data-testid": "toasts",
  });

  show(notice: Notice): void {
    const toast = el(
      "div",
      { class: `toast toast--${notice.tone}` },
      el("span", { class: "toast__text" }, notice.text),
    );
    const close = () => toast.remove();
    if (notice.topic !== undefined) {
      this.element.querySelector(`[data-topic="${notice.topic}"]`)?.remove();
      toast.dataset["topic"] = notice.topic;
    }
    const { action } = notice;
    if (action !== undefined) {
      toast.append(
        el(
          "button",
          {
            type: "button",
            class: "button button--quiet button--small toast__action",
            onclick: () => {
              close();
              action.run();
            },
          },
          action.text,
        ),
      );
    }
    toast.append(
      el(
        "button",
        {
          type: "button",
          class: "button button--quiet button--small button--icon",
          "aria-label": "Dismiss",
          onclick: close,
        },
        icon(ICONS.close),
      ),
    );
    let timer = window.setTimeout(close, notice.durationMs ?? (notice.tone === "danger" ? 2 : 1) * DURATION_MS);
    // Reading stops the clock.
    toast.addEventListener("pointerenter", () => window.clearTimeout(timer));
    toast.addEventListener("pointerleave", () => {
      timer = window.setTimeout(close, 2000);
    });
    this.element.append(toast);
    while (this.element.children.length > MOST) this.element.firstElementChild?.remove();
  }
}
