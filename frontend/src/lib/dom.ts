/** Builds elements: el("button", { class: "button", onclick: f }, "Text"). Text only ever enters as text. */

type Child = Node | string | null | undefined | false;
type Props = Record<string, unknown>;

export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on") && typeof value === "function") {
      element.addEventListener(name.slice(2), value as EventListener);
    } else if (name === "style" && typeof value === "object") {
      // By the object model and not by the attribute, which a content security policy may forbid.
      for (const [property, v] of Object.entries(value)) element.style.setProperty(property, String(v));
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(
    ...children.filter((child): child is Node | string => child instanceof Node || typeof child === "string"),
  );
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A 16-unit line icon from path data. */
export function icon(path: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export const ICONS = {
  lasso: "M8 3c3.3 0 6 1.6 6 3.8s-2.7 3.8-6 3.8-6-1.6-6-3.8S4.7 3 8 3ZM4.5 10c-.8.7-.6 1.9.3 2.1 1 .2 1.3 1.3.4 1.9",
  pan: "M8 1.5v13M1.5 8h13M8 1.5 6 3.5M8 1.5l2 2M8 14.5l-2-2M8 14.5l2-2M1.5 8l2-2M1.5 8l2 2M14.5 8l-2-2M14.5 8l-2 2",
  fit: "M2 6V2h4M14 6V2h-4M2 10v4h4M14 10v4h-4",
  undo: "M5.5 3 2.5 6l3 3M2.5 6H10a3.5 3.5 0 0 1 0 7H7",
  redo: "M10.5 3l3 3-3 3M13.5 6H6a3.5 3.5 0 0 0 0 7h3",
  close: "M4 4l8 8M12 4l-8 8",
  help: "M6 6a2 2 0 1 1 2.7 1.9c-.5.2-.7.6-.7 1.1v.5M8 12v.1M8 14.5a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Z",
  down: "M4 6l4 4 4-4",
  stop: "M4.5 4.5h7v7h-7z",
  play: "M5 3.5v9l7-4.5z",
  picture: "M2 3h12v10H2zM2 11l3.5-3.5L9 11M8 10l2-2 4 4M10.5 5.5v.1",
  outline: "M8 2.5 13 6l-1.5 6.5h-6L2.5 8z",
} as const;

/** Puts these in the place of what is there, unless that looks the same already: what has the focus, or is being pressed, stays.
 * What they do may depend on nothing but what they look like. */
export function showInstead(parent: Element, ...children: Element[]): void {
  const { childNodes } = parent;
  const isThere =
    childNodes.length === children.length && children.every((child, i) => child.isEqualNode(childNodes[i]!));
  if (!isThere) parent.replaceChildren(...children);
}

/** Puts an element at a place on the screen, kept inside the window. */
export function placeInWindow(element: HTMLElement, x: number, y: number): void {
  const { width, height } = element.getBoundingClientRect();
  element.style.left = `${Math.max(8, Math.min(x, window.innerWidth - width - 8))}px`;
  element.style.top = `${Math.max(8, Math.min(y, window.innerHeight - height - 8))}px`;
}
