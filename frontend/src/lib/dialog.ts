import { el, ICONS, icon } from "./dom";

interface DialogOptions {
  /** What its ids and its test id are made of. */
  name: string;
  title: string;
  wide?: boolean;
}

/** A modal dialog with its title; Escape, its cross and a click beside it close it. */
export function createDialog({ name, title, wide }: DialogOptions, ...children: HTMLElement[]): HTMLDialogElement {
  const dialog = el(
    "dialog",
    {
      class: wide ? "dialog dialog--wide" : "dialog",
      "aria-labelledby": `${name}-title`,
      "data-testid": `${name}-dialog`,
      onclick: (event: MouseEvent) => {
        if (event.target === dialog) dialog.close();
      },
    },
    el(
      "header",
      { class: "dialog__header" },
      el("h2", { class: "dialog__title", id: `${name}-title` }, title),
      el(
        "button",
        {
          type: "button",
          class: "button button--quiet button--icon button--small",
          "aria-label": "Close",
          onclick: () => dialog.close(),
        },
        icon(ICONS.close),
      ),
    ),
    ...children,
  );
  return dialog;
}
