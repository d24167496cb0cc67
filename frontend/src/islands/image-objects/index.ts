import { messageOf } from "../../api/http";
import { fetchImageObjects } from "../../api/objects";
import { fetchState } from "../../api/projects";
import type { LabelClass, ProjectState } from "../../api/types";
import { el } from "../../lib/dom";
import { capitalized, count, percent } from "../../lib/format";
import { hashOfOrdinal } from "../../lib/ordinal-hash";
import type { ImageObjectsBuffer } from "../../lib/wire";
import type { Island } from "../mount";
import { Choices } from "./choices";
import { ObjectLabeler } from "./labeler";
import { type ColorBy, countsBy, isShown, nextShown, ObjectFinder, outlinePaths, pathOf } from "./objects";
import { Stage } from "./stage";

/** Pixels of the screen for one of the picture. */
const MOST_STRETCHED = 4;
/** Of outlines without a class. */
const NONE_COLOR = "#f4f4f4";
const API = "/api/v1";
const SVG = "http://www.w3.org/2000/svg";
const COLOR_BY: readonly (readonly [ColorBy, string, string])[] = [
  ["label", "Labels", "Outlines in the color of their label"],
  ["prediction", "Predictions", "Outlines in the color of what the model says"],
  ["difference", "Differences", "Only objects whose label is not what the model says, in the color of their label"],
];
/** Pixels of the screen for one of the image; null: all of it at once. */
const ZOOMS: readonly (readonly [number | null, string])[] = [
  [null, "Fit"],
  [1, "100%"],
  [2, "200%"],
  [4, "400%"],
];

/** Where the pointer was last, in pixels of the window. */
type Pointer = Pick<PointerEvent, "clientX" | "clientY">;

/** <div data-island="image-objects" data-project-id="1" data-image-id="2" data-width data-height><img></div>: the objects on the image,
 * in the colors of their classes. */
export class ImageObjectsIsland implements Island {
  private readonly lifetime = new AbortController();
  /** One answer after the other, so that an older one never comes last. */
  private renewal: Promise<void> = Promise.resolve();
  private readonly picture = el("div", { class: "image-objects__picture" });
  private readonly overlay = document.createElementNS(SVG, "svg");
  private readonly legend = el("ul", {
    class: "image-objects__legend",
    role: "list",
    "aria-label": "Objects by class",
  });
  private readonly told = el("p", { class: "image-objects__told muted", "data-testid": "image-object" });
  /** Around what is pointed at. */
  private readonly mark = [
    outlinePath("image-objects__mark-rim", "", ""),
    outlinePath("image-objects__mark", "", ""),
  ] as const;
  private readonly fault = el("p", { class: "alert alert--danger", role: "alert", hidden: true });
  private colorBy: ColorBy = "label";
  private classes: ReadonlyMap<number, LabelClass> = new Map();
  private objects: ImageObjectsBuffer | null = null;
  private finder: ObjectFinder | null = null;
  /** What is told of. A click is for that: its own place is rounded to whole pixels, and may lie beside a small object. */
  private pointed: number | null = null;
  private pointer: Pointer | null = null;
  /** The object that *Next* has brought into view: it counts as pointed at until the pointer comes back to the picture. */
  private brought: number | null = null;
  private stage: Stage | null = null;
  private readonly next = el(
    "button",
    {
      type: "button",
      class: "button button--small",
      title: "Bring the next object whose label is not what the model says into view",
      hidden: true,
      onclick: () => this.bringNext(),
    },
    "Next",
  );
  /** Of who may label. */
  private labeler: ObjectLabeler | null = null;

  constructor(private readonly element: HTMLElement) {
    void this.load();
  }

  destroy(): void {
    this.lifetime.abort();
  }

  private async load(): Promise<void> {
    const { projectId = "", api = API } = this.element.dataset;
    try {
      const [state] = await Promise.all([fetchState(api, projectId, { signal: this.lifetime.signal }), this.fetch()]);
      this.classes = new Map(state.classes.map((labelClass) => [labelClass.value, labelClass]));
      // Where nothing is labeled yet, the predictions say more.
      const { labels, predictions } = this.objects!;
      if (!labels.some((value) => value !== 0) && predictions.some((value) => value !== 0)) this.colorBy = "prediction";
      const mayLabel = state.permissions?.includes("label.write") === true;
      if (mayLabel) this.labeler = this.makeLabeler(state, api);
      this.build();
    } catch (error) {
      if (this.lifetime.signal.aborted) return;
      this.element.append(el("p", { class: "muted" }, `The objects could not be shown: ${messageOf(error)}`));
      return;
    }
    // Somebody labels meanwhile, perhaps in the window beside.
    const renew = () => {
      this.renewal = this.renewal.then(() => this.renew());
    };
    for (const topic of ["live:labels", "live:predictions"])
      this.element.addEventListener(topic, renew, { signal: this.lifetime.signal });
  }

  private async fetch(): Promise<void> {
    const { projectId = "", imageId = "", api = API } = this.element.dataset;
    this.objects = await fetchImageObjects(api, projectId, imageId, { signal: this.lifetime.signal });
    this.finder ??= new ObjectFinder(this.objects.outlines);
  }

  private async renew(): Promise<void> {
    try {
      await this.fetch();
      this.draw();
    } catch (error) {
      // The next event asks again, and so does the return of a lost connection.
      if (!this.lifetime.signal.aborted) console.warn("PatchSorter could not fetch the labels:", messageOf(error));
    }
  }

  private makeLabeler({ label_set, classes }: ProjectState, api: string): ObjectLabeler {
    const { objects } = this;
    return new ObjectLabeler(
      {
        api,
        labelSet: label_set.id,
        name: this.element.dataset["imageName"] ?? "",
        firstOrdinal: objects?.firstOrdinal ?? 0,
        classes,
        pointed: () => {
          this.retell(); // the picture may have moved under a pointer at rest
          return this.pointed;
        },
        labelOf: (place) => this.objects?.labels[place] ?? 0,
        show: (place, value) => {
          if (this.objects !== null) this.objects.labels[place] = value;
          this.draw();
        },
        say: (text) => {
          this.told.textContent = text;
        },
        complain: (text) => {
          this.fault.textContent = text;
          this.fault.hidden = text === "";
        },
        askAgain: () => {
          this.renewal = this.renewal.then(() => this.renew());
        },
      },
      this.lifetime.signal,
    );
  }

  /** Around the picture that the page came with. */
  private build(): void {
    const picture = this.element.querySelector("img");
    if (picture === null) return;
    const { width, height } = this.element.dataset;
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.overlay.setAttribute("class", "image-objects__overlay");
    this.overlay.setAttribute("aria-hidden", "true");
    this.picture.append(picture, this.overlay);
    const zooms = this.zooms(picture);
    const size = new Choices("Size", zooms, null, (zoom) => stage.show(zoom));
    const stage = new Stage(
      this.picture,
      { width: Number(width), height: Number(height) },
      Math.max(...zooms.map(([zoom]) => zoom ?? 0)),
      (zoom) => size.press(zoom),
    );
    this.stage = stage;
    for (const touch of ["pointermove", "pointerdown"] as const)
      this.picture.addEventListener(touch, (event) => this.tell(event));
    this.picture.addEventListener("pointerleave", () => this.leave());
    window.addEventListener("scroll", () => this.retell(), {
      capture: true,
      passive: true,
      signal: this.lifetime.signal,
    });
    this.picture.addEventListener("click", (event) => this.open(event));
    this.picture.addEventListener("contextmenu", (event) => this.labeler?.offer(event));
    this.element.prepend(
      el(
        "div",
        { class: "image-objects__bar" },
        new Choices("Color", COLOR_BY, this.colorBy, (colorBy) => {
          this.colorBy = colorBy;
          this.draw();
        }).element,
        this.next,
        size.element,
        this.legend,
      ),
      this.told,
      this.fault,
      stage.element,
    );
    this.tellNothing();
    this.draw();
  }

  /** Those at which the picture, which is smaller than a large image, has something to show. */
  private zooms({ src }: HTMLImageElement): typeof ZOOMS {
    const { width, height } = this.element.dataset;
    const sent = Number(new URL(src).searchParams.get("px"));
    const most = MOST_STRETCHED * Math.min(1, sent / Math.max(Number(width), Number(height)));
    return ZOOMS.filter(([zoom]) => zoom === null || zoom <= most);
  }

  private draw(): void {
    const { objects } = this;
    if (objects === null) return;
    const paths = [...outlinePaths(objects, this.colorBy)].flatMap(([value, d]) => {
      const color = this.classes.get(value)?.color ?? NONE_COLOR;
      return [outlinePath("image-objects__rim", d, ""), outlinePath("image-objects__outline", d, color)];
    });
    this.overlay.replaceChildren(...this.mark, ...paths);
    this.next.hidden = this.colorBy !== "difference" || paths.length === 0;
    this.legend.replaceChildren(
      ...[...countsBy(objects, this.colorBy)].map(([value, n]) =>
        el(
          "li",
          { class: "class-chip" },
          el("span", {
            class: "class-chip__swatch",
            style: { "--swatch": this.classes.get(value)?.color ?? NONE_COLOR },
          }),
          `${value === 0 ? this.noneName : this.nameOf(value)} `,
          el("span", { class: "num muted" }, count(n)),
        ),
      ),
    );
  }

  private get noneName(): string {
    return this.colorBy === "prediction" ? "no prediction" : "no label";
  }

  private nameOf(value: number): string {
    return this.classes.get(value)?.name ?? `class ${value}`;
  }

  private tell(event: PointerEvent): void {
    this.pointer = { clientX: event.clientX, clientY: event.clientY };
    this.brought = null;
    this.retell();
  }

  private bringNext(): void {
    const { objects, finder } = this;
    if (objects === null || finder === null) return;
    this.pointer = null; // a hand that is at the keyboard has left it lying
    this.brought = nextShown(objects, this.colorBy, this.brought ?? -1);
    if (this.brought !== null) this.stage?.bring(finder.middleOf(this.brought));
    this.retell();
  }

  /** Of what lies under the pointer now, or was brought into view. */
  private retell(): void {
    const { objects, pointer, brought } = this;
    const found = pointer === null ? brought : this.at(pointer);
    if (found === this.pointed && found === null) return;
    this.pointTo(found);
    this.picture.classList.toggle("image-objects__picture--on-object", found !== null);
    if (objects === null || found === null) {
      this.tellNothing();
      return;
    }
    const [label, predicted] = [objects.labels[found]!, objects.predictions[found]!];
    const said = label === 0 ? "no label" : `labeled ${this.nameOf(label)}`;
    const sure = percent(objects.confidences[found]! / 255);
    const model = predicted === 0 ? "" : `, predicted ${this.nameOf(predicted)}, ${sure}`;
    this.told.textContent = `${capitalized(said)}${model}`;
  }

  /** The place in the image's objects of the one that is shown under the pointer; null where there is none. */
  private at({ clientX, clientY }: Pointer): number | null {
    const { objects } = this;
    if (objects === null || this.finder === null) return null;
    if (!this.picture.contains(document.elementFromPoint(clientX, clientY))) return null;
    const { left, top, width } = this.picture.getBoundingClientRect();
    const scale = Number(this.element.dataset["width"]) / width;
    const found = this.finder.at((clientX - left) * scale, (clientY - top) * scale);
    return found === null || !isShown(objects, this.colorBy, found) ? null : found;
  }

  /** In the workspace, where it can be labeled; in a tab of its own by the key that opens links so. */
  private open(event: MouseEvent): void {
    const { objects, pointed } = this;
    if (objects === null || pointed === null) return;
    const url = `${this.element.dataset["workspaceUrl"]}${hashOfOrdinal(objects.firstOrdinal + pointed)}`;
    if (event.ctrlKey || event.metaKey) window.open(url);
    else window.location.assign(url);
  }

  /** What a key would label is marked on the picture. */
  private pointTo(place: number | null): void {
    const { objects } = this;
    this.pointed = place;
    const outline = place === null || objects === null ? null : objects.outlines[place]!;
    for (const path of this.mark)
      path.setAttribute("d", outline === null || outline.length === 0 ? "" : pathOf(outline));
  }

  private leave(): void {
    this.pointer = null;
    this.pointTo(null);
    this.tellNothing();
  }

  private tellNothing(): void {
    // One line, as all that takes its place: the picture must not move under the pointer.
    const labels = this.labeler === null ? "A" : "Its class's key or a right click labels it, Z undoes; a";
    this.told.textContent = `Point at an object to see what it is called. ${labels} click opens it in the workspace.`;
  }
}

function outlinePath(name: string, d: string, color: string): SVGPathElement {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("class", name);
  path.setAttribute("d", d);
  path.style.setProperty("--swatch", color);
  return path;
}
