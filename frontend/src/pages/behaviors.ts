import { el } from "../lib/dom";
import { ago } from "../lib/format";

/** Small behaviors of the pages, bound by attributes: no inline script, no inline style. */

export function setUpBehaviors(): void {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element)) return;
    const opener = event.target.closest<HTMLElement>("[data-dialog-open]");
    if (opener !== null) dialogOf(opener.dataset["dialogOpen"] ?? "")?.showModal();
    const closer = event.target.closest<HTMLElement>("[data-dialog-close]");
    closer?.closest("dialog")?.close();
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
}

function dialogOf(id: string): HTMLDialogElement | null {
  const dialog = document.getElementById(id);
  return dialog instanceof HTMLDialogElement ? dialog : null;
}

/** Applies data-color, data-weight, data-value and data-relative below an element. */
export function decorate(root: ParentNode): void {
  const all = (selector: string) => {
    const inside = Array.from(root.querySelectorAll<HTMLElement>(selector));
    return root instanceof HTMLElement && root.matches(selector) ? [root, ...inside] : inside;
  };
  for (const element of all("[data-color]")) element.style.setProperty("--swatch", element.dataset["color"] ?? "");
  for (const element of all("[data-weight]")) element.style.flexGrow = element.dataset["weight"] ?? "0";
  for (const element of all(".progress__bar[data-value]")) element.style.width = `${element.dataset["value"]}%`;
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
  region.append(message);
  window.setTimeout(() => message.remove(), 8000);
}
