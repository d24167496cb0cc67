import htmx from "htmx.org";
import { csrfToken } from "../api/http";
import { HTMX_EVENTS } from "./htmx-events";

/** Statuses whose answer is a form with its errors, and so is shown in place. */
const FORM_ERRORS = new Set([400, 409, 422]);

/** Sets htmx up for a strict content security policy and for Django. */
export function setUpHtmx(onElement: (element: HTMLElement) => void, onCleanup: (element: HTMLElement) => void): void {
  htmx.config.allowEval = false;
  htmx.config.includeIndicatorStyles = false;
  // Without "style", which it would copy as an attribute.
  htmx.config.attributesToSettle = ["class", "width", "height"];
  htmx.config.selfRequestsOnly = true;
  htmx.config.historyCacheSize = 0;
  htmx.config.scrollBehavior = "auto";
  document.addEventListener(HTMX_EVENTS.configRequest, (event) => {
    const detail = (event as CustomEvent<{ verb: string; headers: Record<string, string> }>).detail;
    if (detail.verb.toLowerCase() !== "get") detail.headers["X-CSRFToken"] = csrfToken();
  });
  document.addEventListener(HTMX_EVENTS.beforeSwap, (event) => {
    const detail = (event as CustomEvent<{ xhr: XMLHttpRequest; shouldSwap: boolean; isError: boolean }>).detail;
    if (FORM_ERRORS.has(detail.xhr.status)) {
      detail.shouldSwap = true;
      detail.isError = false;
    }
  });
  keepScrolled();
  document.addEventListener(HTMX_EVENTS.load, (event) => {
    if (event.target instanceof HTMLElement) onElement(event.target);
  });
  document.addEventListener(HTMX_EVENTS.beforeCleanup, (event) => {
    if (event.target instanceof HTMLElement) onCleanup(event.target);
  });
}

/** What somebody reads in (`data-keep-scroll` and an id) stays where it is when the fragment around it comes anew. */
function keepScrolled(): void {
  const places = new Map<string, number>();
  document.addEventListener(HTMX_EVENTS.beforeSwap, () => {
    places.clear();
    for (const element of document.querySelectorAll("[data-keep-scroll]")) places.set(element.id, element.scrollTop);
  });
  document.addEventListener(HTMX_EVENTS.afterSwap, () => {
    for (const [id, top] of places) document.getElementById(id)?.scrollTo({ top });
  });
}

/** GET a fragment, with these values, into the element that the selector names. */
export function loadInto(url: string, target: string, values: Record<string, string> = {}): Promise<void> {
  return htmx.ajax("get", url, { target, swap: "innerHTML", values });
}

/** Tell a user of a request that failed altogether. */
export function onRequestFailed(tell: (text: string) => void): void {
  document.addEventListener(HTMX_EVENTS.sendError, () => tell("The server does not answer. Nothing was changed."));
  document.addEventListener(HTMX_EVENTS.responseError, (event) => {
    const { xhr } = (event as CustomEvent<{ xhr: XMLHttpRequest }>).detail;
    if (FORM_ERRORS.has(xhr.status)) return;
    tell(
      xhr.status === 403
        ? "Your role does not allow this."
        : xhr.status === 404
          ? "This is not here any more."
          : `The server answered with an error (${xhr.status}).`,
    );
  });
}
