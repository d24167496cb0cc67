import { el, ICONS, icon } from "../lib/dom";
import { ago } from "../lib/format";

const SHOWN_MS = 8000;

/** Small behaviors of the pages, bound by attributes: no inline script, no inline style. */

export function setUpBehaviors(): void {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const opener = event.target.closest<HTMLElement>("[data-dialog-open]");
    if (opener !== null) dialogOf(opener.dataset["dialogOpen"] ?? "")?.showModal();
    const closer = event.target.closest<HTMLElement>("[data-dialog-close]");
    closer?.closest("dialog")?.close();
    const copier = event.target.closest<HTMLElement>("[data-copy]");
    if (copier !== null) void copyText(copier.dataset["copy"] ?? "");
    // A menu closes when anything outside it, or one of its items, is clicked.
    for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) {
      if (!menu.contains(event.target) || event.target.closest(".menu__item") !== null) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }
  });
  window.setInterval(() => showTimes(document), 30_000);
  for (const message of document.querySelectorAll<HTMLElement>(".toast-region > .toast")) {
    letGo(message, message.matches(".toast--success, .toast--info") ? SHOWN_MS : null);
  }
}

/** A message goes by itself after so long, unless somebody is at it, or with null when it is dismissed. */
function letGo(message: HTMLElement, afterMs: number | null): void {
  message.append(
    el(
      "button",
      {
        type: "button",
        class: "button button--quiet button--small button--icon",
        "aria-label": "Dismiss",
        onclick: () => message.remove(),
      },
      icon(ICONS.close),
    ),
  );
  if (afterMs === null) return;
  window.setTimeout(() => {
    if (message.matches(":hover, :focus-within")) letGoLater(message);
    else message.remove();
  }, afterMs);
}

function letGoLater(message: HTMLElement): void {
  for (const left of ["pointerleave", "focusout"])
    message.addEventListener(left, () => message.remove(), { once: true });
}

/** The text of an element to the clipboard; where the browser gives a page none (plain HTTP), it is selected for the user to copy. */
async function copyText(id: string): Promise<void> {
  const element = document.getElementById(id);
  if (element === null) return;
  try {
    await navigator.clipboard.writeText(element.textContent ?? "");
    toast("Copied.", "success");
  } catch {
    window.getSelection()?.selectAllChildren(element);
    toast("Selected: copy it with Ctrl+C.");
  }
}

function dialogOf(id: string): HTMLDialogElement | null {
  const dialog = document.getElementById(id);
  return dialog instanceof HTMLDialogElement ? dialog : null;
}

/** Applies data-color, data-weight and data-relative below an element. */
export function decorate(root: ParentNode): void {
  const all = (selector: string) => {
    const inside = Array.from(root.querySelectorAll<HTMLElement>(selector));
    return root instanceof HTMLElement && root.matches(selector) ? [root, ...inside] : inside;
  };
  for (const element of all("[data-color]")) element.style.setProperty("--swatch", element.dataset["color"] ?? "");
  for (const element of all("[data-weight]")) element.style.flexGrow = element.dataset["weight"] ?? "0";
  showTimes(root);
}

function showTimes(root: ParentNode): void {
  for (const time of root.querySelectorAll<HTMLTimeElement>("time[data-relative]")) {
    if (time.title === "") time.title = new Date(time.dateTime).toLocaleString();
    time.textContent = ago(time.dateTime, Date.now());
  }
}

export function toast(text: string, tone: "plain" | "success" | "danger" = "plain"): void {
  let region = document.querySelector<HTMLElement>(".toast-region");
  if (region === null) {
    region = el("div", { class: "toast-region", "aria-live": "polite" });
    document.body.append(region);
  }
  const message = el("div", { class: `toast toast--${tone}`, role: "status" }, el("span", {}, text));
  letGo(message, SHOWN_MS);
  region.append(message);
}
