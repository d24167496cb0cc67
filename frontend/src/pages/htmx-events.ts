/** The event names of htmx 2, spelled here and nowhere else: other major versions rename them. */
export const HTMX_EVENTS = {
  load: "htmx:load",
  beforeCleanup: "htmx:beforeCleanupElement",
  configRequest: "htmx:configRequest",
  beforeSwap: "htmx:beforeSwap",
  afterSwap: "htmx:afterSwap",
  sendError: "htmx:sendError",
  responseError: "htmx:responseError",
} as const;
