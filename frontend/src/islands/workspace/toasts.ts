import { el, ICONS, icon } from "../../lib/dom";
import type { Notice, NoticeStore } from "../../state/notices";

/** Short messages over the top bar, read out by screen readers. */
export class Toasts {
  readonly element: HTMLElement = el("div", {
    class: "toast-region",
    role: "log",
    "aria-live": "polite",
    "aria-label": "Messages",
    "data-testid": "toasts",
  });
  private readonly toasts = new Map<Notice, HTMLElement>();
  private readonly subscription: () => void;

  constructor(private readonly notices: NoticeStore) {
    this.subscription = notices.on("notices", () => this.update());
  }

  destroy(): void {
    this.subscription();
    this.notices.clear();
  }

  private update(): void {
    const { shown } = this.notices;
    for (const [notice, toast] of this.toasts) {
      if (shown.includes(notice)) continue;
      toast.remove();
      this.toasts.delete(notice);
    }
    for (const notice of shown) {
      if (this.toasts.has(notice)) continue;
      const toast = this.toast(notice);
      this.toasts.set(notice, toast);
      this.element.append(toast);
    }
  }

  private toast(notice: Notice): HTMLElement {
    const close = () => this.notices.dismiss(notice);
    const { action } = notice;
    const toast = el(
      "div",
      { class: `toast toast--${notice.tone}`, "data-topic": notice.topic },
      el("span", { class: "toast__text", title: notice.text }, notice.text),
      action !== undefined &&
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
    toast.addEventListener("pointerenter", () => this.notices.hold(notice));
    toast.addEventListener("focusin", () => this.notices.hold(notice));
    const release = () => {
      if (!toast.matches(":hover, :focus-within")) this.notices.release(notice);
    };
    toast.addEventListener("pointerleave", release);
    toast.addEventListener("focusout", () => queueMicrotask(release)); // the focus is nowhere yet
    return toast;
  }
}
