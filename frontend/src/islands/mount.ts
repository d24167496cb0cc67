/** Islands: parts of a page that TypeScript draws. Mounted where an element says so, destroyed when it goes. */

export interface Island {
  destroy(): void;
}

export type IslandConstructor = new (element: HTMLElement) => Island;

const mounted = new WeakMap<Element, Island>();

function islandsIn(root: ParentNode): HTMLElement[] {
  const inside = Array.from(root.querySelectorAll<HTMLElement>("[data-island]"));
  return root instanceof HTMLElement && root.dataset["island"] !== undefined ? [root, ...inside] : inside;
}

export function mountIslands(root: ParentNode, registry: Readonly<Record<string, IslandConstructor>>): void {
  for (const element of islandsIn(root)) {
    const Constructor = registry[element.dataset["island"] ?? ""];
    if (Constructor !== undefined && !mounted.has(element)) mounted.set(element, new Constructor(element));
  }
}

export function destroyIslands(root: ParentNode): void {
  for (const element of islandsIn(root)) {
    mounted.get(element)?.destroy();
    mounted.delete(element);
  }
}
