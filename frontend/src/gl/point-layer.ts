import type { Bounds } from "../lib/wire";

/** Draws up to millions of points with WebGL 2.
 *
 * Positions (4 bytes a point) are uploaded once per map. Color and state are one byte each in buffers of their own: to
 * recolor a million points is one upload of a megabyte. A point's color byte is looked up in a palette of 256 entries,
 * each with its color, its hairline (where the color would vanish on the background) and its rim when marked.
 * Selected points are drawn again, on top, through an index buffer. The layer knows points, not labels.
 */

/** Bits of a point's state byte. */
export const HIDDEN = 1;
export const MARKED = 2;
const PALETTE_ROWS = 3;
/** Smaller points, in CSS pixels, have no room for a hairline or a rim. */
const HAIRLINE_ABOVE_PX = 4.5;
/** WebGL takes at most 255 bytes from one point's place, of four bytes, to the next one's. */
const LARGEST_STRIDE = 63;

const VERTEX = `#version 300 es
in vec2 aPosition;
in vec2 aPrevious;
in uint aColor;
in uint aState;
uniform vec2 uScale;
uniform vec2 uShift;
uniform vec2 uPreviousScale;
uniform vec2 uPreviousShift;
uniform float uMoved;
uniform float uSize;
uniform float uAlpha;
uniform float uLeastAlpha;
uniform float uFade;
uniform mediump float uHairlineAbove;
uniform mediump float uPixel;
uniform mediump float uMarkAlpha;
uniform vec4 uSolid;
uniform vec3 uBackground;
uniform sampler2D uPalette;
out vec4 vColor;
flat out vec4 vOutline;
flat out vec3 vMark;
flat out float vSize;
flat out float vMarked;

void main() {
  vec2 now = aPosition * uScale + uShift;
  vec2 before = aPrevious * uPreviousScale + uPreviousShift;
  vec2 place = mix(before, now, uMoved);
  bool hidden = (aState & 1u) != 0u;
  gl_Position = hidden ? vec4(2.0, 2.0, 2.0, 1.0) : vec4(place, 0.0, 1.0);
  bool marked = (aState & 2u) != 0u;
  // A rim goes around the color, not over it.
  float size = uSize + (marked && uMarkAlpha > 0.0 && uSize > uHairlineAbove ? 2.0 * uPixel : 0.0);
  gl_PointSize = size;
  vec4 color = texelFetch(uPalette, ivec2(int(aColor), 0), 0);
  vec4 outline = texelFetch(uPalette, ivec2(int(aColor), 1), 0);
  // Too small for a hairline: the color itself moves away from the background.
  if (uSize <= uHairlineAbove) color.rgb = mix(color.rgb, outline.rgb, 0.6 * outline.a);
  color.rgb = mix(color.rgb, uBackground, uFade);
  vOutline = uSolid.a > 0.0 ? vec4(0.0) : vec4(mix(outline.rgb, uBackground, uFade), outline.a);
  vMark = texelFetch(uPalette, ivec2(int(aColor), 2), 0).rgb;
  vColor = uSolid.a > 0.0 ? uSolid : vec4(color.rgb, max(color.a, uLeastAlpha) * uAlpha);
  vSize = size;
  vMarked = marked ? 1.0 : 0.0;
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec4 vColor;
flat in vec4 vOutline;
flat in vec3 vMark;
flat in float vSize;
flat in float vMarked;
uniform float uPixel;
uniform float uHairlineAbove;
uniform float uMarkAlpha;
out vec4 color;

void main() {
  vec4 c = vColor;
  if (vSize > 2.5) {
    float r = distance(gl_PointCoord, vec2(0.5)) * vSize;
    float edge = vSize * 0.5;
    float cover = 1.0 - smoothstep(edge - 1.0, edge, r);
    if (cover <= 0.0) discard;
    if (vSize > uHairlineAbove) {
      // One CSS pixel wide, with half a device pixel of softness on its inner side.
      float rim = smoothstep(edge - 0.5 - uPixel - 0.25, edge - 0.5 - uPixel + 0.25, r);
      c.rgb = mix(c.rgb, vOutline.rgb, rim * vOutline.a);
      if (vMarked > 0.5) c.rgb = mix(c.rgb, vMark, rim * uMarkAlpha);
    }
    c.a *= cover;
  }
  color = vec4(c.rgb * c.a, c.a);
}`;

/** A view of the map in double precision: what part of it fills the canvas. */
export interface View {
  readonly centerX: number;
  readonly centerY: number;
  /** CSS pixels per unit of the data. */
  readonly scale: number;
  readonly width: number;
  readonly height: number;
}

export interface Look {
  /** Diameter in CSS pixels. */
  readonly pointSize: number;
  readonly alpha: number;
  /** Draw the points outside the selection faintly. */
  readonly dimOthers: boolean;
  /** How faintly: what is left of their opacity, and how far their color goes to the background's. */
  readonly dimmed: { readonly alpha: number; readonly fade: number };
  readonly background: readonly [number, number, number];
  readonly highlight: readonly [number, number, number];
}

interface Cloud {
  readonly n: number;
  readonly positions: Uint16Array;
  readonly bounds: Bounds;
}

interface Resources {
  readonly program: WebGLProgram;
  readonly uniforms: Record<string, WebGLUniformLocation | null>;
  readonly position: WebGLBuffer;
  readonly previous: WebGLBuffer;
  readonly color: WebGLBuffer;
  readonly state: WebGLBuffer;
  readonly selection: WebGLBuffer;
  readonly picks: WebGLBuffer;
  readonly palette: WebGLTexture;
}

const UNIFORMS = [
  "uScale",
  "uShift",
  "uPreviousScale",
  "uPreviousShift",
  "uMoved",
  "uSize",
  "uAlpha",
  "uLeastAlpha",
  "uFade",
  "uSolid",
  "uBackground",
  "uPalette",
  "uPixel",
  "uHairlineAbove",
  "uMarkAlpha",
] as const;

const ATTRIBUTES = ["aPosition", "aPrevious", "aColor", "aState"] as const;

export class PointLayer {
  private readonly gl: WebGL2RenderingContext;
  private resources: Resources | null = null;
  private cloud: Cloud | null = null;
  private before: Cloud | null = null;
  private colors: Uint8Array = new Uint8Array(0);
  private states: Uint8Array = new Uint8Array(0);
  private palette: Uint8Array = new Uint8Array(PALETTE_ROWS * 1024);
  private selection: Uint32Array = new Uint32Array(0);
  private picks: Uint32Array = new Uint32Array(0);
  /** Bytes allocated on the device per buffer: a buffer of the right size is refilled, not made anew. */
  private readonly allocated = new Map<WebGLBuffer, number>();

  /** @param onRestored called when the browser took the context away and gave it back */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly onRestored: () => void,
  ) {
    const gl = canvas.getContext("webgl2", {
      antialias: false,
      alpha: true,
      depth: false,
      powerPreference: "high-performance",
    });
    if (gl === null) throw new Error("This browser does not offer WebGL 2, which the map needs.");
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", this.lost);
    canvas.addEventListener("webglcontextrestored", this.restored);
    this.resources = this.createResources();
  }

  destroy(): void {
    this.canvas.removeEventListener("webglcontextlost", this.lost);
    this.canvas.removeEventListener("webglcontextrestored", this.restored);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
    this.resources = null;
  }

  get n(): number {
    return this.cloud?.n ?? 0;
  }

  /** A new map. With `keepPrevious`, draw(moved) shows the points between their old places and the new ones. */
  setPoints(positions: Uint16Array, bounds: Bounds, keepPrevious: boolean): void {
    const n = positions.length >> 1;
    const old = this.cloud;
    this.cloud = { n, positions, bounds };
    if (keepPrevious && old !== null && old.n > 0) {
      // Points that the old map did not have appear at their new place: expressed in the old map's bounds.
      const previous = new Uint16Array(2 * n);
      previous.set(old.positions.subarray(0, 2 * n));
      for (let i = old.n; i < n; i++) {
        const x = bounds.x0 + (bounds.width * positions[2 * i]!) / 65535;
        const y = bounds.y0 + (bounds.height * positions[2 * i + 1]!) / 65535;
        previous[2 * i] = Math.max(0, Math.min(65535, ((x - old.bounds.x0) / old.bounds.width) * 65535));
        previous[2 * i + 1] = Math.max(0, Math.min(65535, ((y - old.bounds.y0) / old.bounds.height) * 65535));
      }
      this.before = { n, positions: previous, bounds: old.bounds };
    } else {
      this.before = null;
    }
    this.colors = new Uint8Array(n);
    this.states = new Uint8Array(n);
    this.uploadAll();
  }

  /** The move is over: the old places are no longer needed. */
  forgetPrevious(): void {
    this.before = null;
  }

  /** One byte per point, an index into the palette. */
  setColors(colors: Uint8Array): void {
    this.colors = colors;
    if (this.resources !== null) this.upload(this.gl.ARRAY_BUFFER, this.resources.color, colors);
  }

  /** One byte per point: HIDDEN | MARKED. */
  setStates(states: Uint8Array): void {
    this.states = states;
    if (this.resources !== null) this.upload(this.gl.ARRAY_BUFFER, this.resources.state, states);
  }

  /** Three rows of 256 RGBA entries: colors, hairlines, rims of marked points. */
  setPalette(palette: Uint8Array): void {
    this.palette = palette;
    if (this.resources !== null) this.uploadPalette(this.resources);
  }

  setSelection(selection: Uint32Array): void {
    this.selection = selection;
    if (this.resources !== null) this.upload(this.gl.ELEMENT_ARRAY_BUFFER, this.resources.selection, selection);
  }

  setPicks(picks: Uint32Array): void {
    this.picks = picks;
    if (this.resources !== null) this.upload(this.gl.ELEMENT_ARRAY_BUFFER, this.resources.picks, picks);
  }

  resize(width: number, height: number, pixelRatio: number): void {
    const w = Math.max(1, Math.round(width * pixelRatio));
    const h = Math.max(1, Math.round(height * pixelRatio));
    if (this.canvas.width !== w) this.canvas.width = w;
    if (this.canvas.height !== h) this.canvas.height = h;
  }

  /** @param moved 0 = old places, 1 = new ones
   * @param sparse draw one in so many points only (while the view moves on a slow device); at most LARGEST_STRIDE */
  draw(view: View, look: Look, moved: number, sparse = 1): void {
    const stride = Math.min(sparse, LARGEST_STRIDE);
    const { gl, resources, cloud } = this;
    if (resources === null || gl.isContextLost()) return;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (cloud === null || cloud.n === 0) return;
    gl.useProgram(resources.program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, resources.palette);
    const u = resources.uniforms;
    gl.uniform1i(u["uPalette"]!, 0);
    const before = this.before ?? cloud;
    this.setTransform(u["uScale"]!, u["uShift"]!, cloud.bounds, view);
    this.setTransform(u["uPreviousScale"]!, u["uPreviousShift"]!, before.bounds, view);
    gl.uniform1f(u["uMoved"]!, this.before === null ? 1 : moved);
    gl.uniform3f(u["uBackground"]!, ...look.background);
    const ratio = this.canvas.width / view.width;
    gl.uniform1f(u["uPixel"]!, ratio);
    gl.uniform1f(u["uHairlineAbove"]!, HAIRLINE_ABOVE_PX * ratio);
    const size = Math.max(1, look.pointSize * ratio);
    const base = (
      solid: readonly [number, number, number] | null,
      alpha: number,
      fade: number,
      markAlpha: number,
      leastAlpha = 0,
    ) => {
      gl.uniform4f(u["uSolid"]!, solid?.[0] ?? 0, solid?.[1] ?? 0, solid?.[2] ?? 0, solid === null ? 0 : alpha);
      gl.uniform1f(u["uAlpha"]!, alpha);
      gl.uniform1f(u["uLeastAlpha"]!, leastAlpha);
      gl.uniform1f(u["uFade"]!, fade);
      gl.uniform1f(u["uMarkAlpha"]!, markAlpha);
    };

    this.bindAttributes(resources, stride);
    if (look.dimOthers) base(null, look.alpha * look.dimmed.alpha, look.dimmed.fade, 0);
    else base(null, look.alpha, 0, 1);
    gl.uniform1f(u["uSize"]!, size);
    gl.drawArrays(gl.POINTS, 0, Math.floor(cloud.n / stride));

    if (stride > 1) this.bindAttributes(resources, 1);
    if (look.dimOthers && this.selection.length > 0) {
      // What is selected does not stand back for having no label, as it does among all.
      base(null, Math.max(look.alpha, 0.85), 0, 1, 1);
      gl.uniform1f(u["uSize"]!, size * 1.15);
      this.drawIndexed(resources.selection, this.selection.length, stride);
    }
    if (this.picks.length > 0) {
      base(look.highlight, 1, 0, 0);
      gl.uniform1f(u["uSize"]!, size * 1.15 + 4 * ratio);
      this.drawIndexed(resources.picks, this.picks.length, stride);
      base(null, 1, 0, 1, 1);
      gl.uniform1f(u["uSize"]!, size * 1.15);
      this.drawIndexed(resources.picks, this.picks.length, stride);
    }
  }

  private drawIndexed(buffer: WebGLBuffer, n: number, stride: number): void {
    this.gl.bindBuffer(this.gl.ELEMENT_ARRAY_BUFFER, buffer);
    this.gl.drawElements(this.gl.POINTS, Math.ceil(n / stride), this.gl.UNSIGNED_INT, 0);
  }

  /** clip = fraction * scale + shift, worked out in double precision so that deep zooms stay sharp. */
  private setTransform(scale: WebGLUniformLocation, shift: WebGLUniformLocation, bounds: Bounds, view: View): void {
    const perUnitX = (2 * view.scale) / view.width;
    const perUnitY = (2 * view.scale) / view.height;
    this.gl.uniform2f(scale, bounds.width * perUnitX, bounds.height * perUnitY);
    this.gl.uniform2f(shift, (bounds.x0 - view.centerX) * perUnitX, (bounds.y0 - view.centerY) * perUnitY);
  }

  private bindAttributes(resources: Resources, stride: number): void {
    const { gl } = this;
    const position = (location: number, buffer: WebGLBuffer) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, 2, gl.UNSIGNED_SHORT, true, 4 * stride, 0);
    };
    const byte = (location: number, buffer: WebGLBuffer) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribIPointer(location, 1, gl.UNSIGNED_BYTE, stride, 0);
    };
    position(0, resources.position);
    position(1, this.before === null ? resources.position : resources.previous);
    byte(2, resources.color);
    byte(3, resources.state);
  }

  private uploadAll(): void {
    const { gl, resources } = this;
    if (resources === null) return;
    if (this.cloud !== null) this.upload(gl.ARRAY_BUFFER, resources.position, this.cloud.positions);
    if (this.before !== null) this.upload(gl.ARRAY_BUFFER, resources.previous, this.before.positions);
    this.upload(gl.ARRAY_BUFFER, resources.color, this.colors);
    this.upload(gl.ARRAY_BUFFER, resources.state, this.states);
    this.upload(gl.ELEMENT_ARRAY_BUFFER, resources.selection, this.selection);
    this.upload(gl.ELEMENT_ARRAY_BUFFER, resources.picks, this.picks);
    this.uploadPalette(resources);
  }

  private upload(target: number, buffer: WebGLBuffer, data: Uint8Array | Uint16Array | Uint32Array): void {
    const { gl } = this;
    gl.bindBuffer(target, buffer);
    if (this.allocated.get(buffer) === data.byteLength && data.byteLength > 0) gl.bufferSubData(target, 0, data);
    else gl.bufferData(target, data, gl.DYNAMIC_DRAW);
    this.allocated.set(buffer, data.byteLength);
  }

  private uploadPalette(resources: Resources): void {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, resources.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, PALETTE_ROWS, 0, gl.RGBA, gl.UNSIGNED_BYTE, this.palette);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  private createResources(): Resources {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ] as const) {
      const shader = gl.createShader(type)!;
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    ATTRIBUTES.forEach((name, location) => {
      gl.bindAttribLocation(program, location, name);
    });
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      const logs = (gl.getAttachedShaders(program) ?? []).map((shader) => gl.getShaderInfoLog(shader));
      throw new Error(`The map's shaders do not build: ${gl.getProgramInfoLog(program)} ${logs.join(" ")}`);
    }
    const uniforms: Record<string, WebGLUniformLocation | null> = {};
    for (const name of UNIFORMS) uniforms[name] = gl.getUniformLocation(program, name);
    this.allocated.clear();
    return {
      program,
      uniforms,
      position: gl.createBuffer(),
      previous: gl.createBuffer(),
      color: gl.createBuffer(),
      state: gl.createBuffer(),
      selection: gl.createBuffer(),
      picks: gl.createBuffer(),
      palette: gl.createTexture(),
    };
  }

  private readonly lost = (event: Event): void => {
    // Without this the browser would not give the context back.
    event.preventDefault();
    this.resources = null;
  };

  private readonly restored = (): void => {
    this.resources = this.createResources();
    this.uploadAll();
    this.onRestored();
  };
}
