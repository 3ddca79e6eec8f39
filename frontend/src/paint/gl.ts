// Paints triangles with WebGL2: one context, one program, one texture per layer and level.
import type { Rgb } from "../base/colour";
import { STILL_CACHED } from "../base/cells";
import type { LayerColumns } from "../data/columns";
import fragmentSource from "./cells.frag.glsl";
import { type Look, type Painter, type Panel, levelFor } from "./painter";
import vertexSource from "./panel.vert.glsl";

/** Texels to a row of a texture; every WebGL2 has at least this many. The shader has the same number. */
const TEXTURE_WIDTH = 2048;
/** Bytes of textures kept; the least recently painted go first. */
const TEXTURE_BYTES = 512 * 2 ** 20;

const UNIFORMS = [
  "lives", "ramp", "cellOrigin", "cellOffset", "cellsPerPixel", "corner", "canvasHeight", "entryStart", "pool", "seen", "kind",
  "longestLog10", "unbornColour", "evictedColour", "aliveColour", "unknownColour", "rectangle", "canvasSize",
] as const;
type Uniforms = Record<(typeof UNIFORMS)[number], WebGLUniformLocation>;

interface Uploaded {
  texture: WebGLTexture;
  version: number;
  rows: number;
  bytes: number;
}

export class GlPainter implements Painter {
  readonly name = "WebGL2";
  private readonly at: Uniforms;
  private readonly ramp: WebGLTexture;
  private rampShown: Uint8Array | undefined;
  /** In order of use, the oldest first. */
  private readonly uploaded = new Map<LayerColumns, Uploaded>();
  private bytes = 0;

  /** Undefined where WebGL2 is missing. `lost` is called when the context goes and somebody else has to paint. */
  static create(lost: () => void): GlPainter | undefined {
    const canvas = document.createElement("canvas");
    const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false, preserveDrawingBuffer: true });
    if (!gl) return undefined;
    canvas.addEventListener("webglcontextlost", lost, { once: true });
    return new GlPainter(canvas, gl);
  }

  private constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly gl: WebGL2RenderingContext,
  ) {
    const program = link(gl);
    gl.useProgram(program);
    this.at = locate(gl, program);
    this.ramp = texture(gl);
    gl.uniform1i(this.at.lives, 0);
    gl.uniform1i(this.at.ramp, 1);
    gl.bindVertexArray(gl.createVertexArray());
  }

  paint(width: number, height: number, panels: readonly Panel[], look: Look): CanvasImageSource {
    const { gl, canvas } = this;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    gl.viewport(0, 0, width, height);
    this.look(width, height, look);
    for (const panel of panels) this.panel(panel);
    return canvas;
  }

  private look(width: number, height: number, look: Look): void {
    const { gl, at } = this;
    const rgb = (where: WebGLUniformLocation, [r, g, b]: Rgb) => gl.uniform3f(where, r / 255, g / 255, b / 255);
    gl.uniform2f(at.canvasSize, width, height);
    gl.uniform1f(at.canvasHeight, height);
    gl.uniform1i(at.kind, ["retention", "alive", "half-life"].indexOf(look.kind));
    gl.uniform1f(at.longestLog10, Math.log10(look.longest));
    rgb(at.unbornColour, look.colours.unborn);
    rgb(at.evictedColour, look.colours.evicted);
    rgb(at.aliveColour, look.colours.alive);
    rgb(at.unknownColour, look.colours.unknown);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.ramp);
    if (this.rampShown !== look.ramp) {
      gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, look.ramp);
      this.rampShown = look.ramp;
    }
    gl.clearColor(look.colours.unborn[0] / 255, look.colours.unborn[1] / 255, look.colours.unborn[2] / 255, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
  }

  private panel(panel: Panel): void {
    const { gl, at } = this;
    const columns = levelFor(panel);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.textureOf(columns));
    const { x0, x1, y0, y1 } = panel.cells;
    const [keys, queries] = [Math.floor(x0), Math.floor(y0)];
    gl.uniform2i(at.cellOrigin, keys, queries);
    gl.uniform2f(at.cellOffset, x0 - keys, y0 - queries);
    gl.uniform2f(at.cellsPerPixel, (x1 - x0) / panel.width, (y1 - y0) / panel.height);
    gl.uniform2f(at.corner, panel.x, panel.y);
    gl.uniform4f(at.rectangle, panel.x, panel.y, panel.width, panel.height);
    gl.uniform1i(at.entryStart, panel.head * columns.stride);
    gl.uniform1i(at.pool, columns.pool);
    gl.uniform1i(at.seen, columns.seen);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  private textureOf(columns: LayerColumns): WebGLTexture {
    const { gl } = this;
    const known = this.uploaded.get(columns);
    this.uploaded.delete(columns);
    const entries = columns.heads * columns.stride;
    const rows = Math.ceil(entries / TEXTURE_WIDTH);
    if (known && known.version === columns.version && known.rows === rows) {
      this.uploaded.set(columns, known);
      return known.texture;
    }
    const channels = columns.position ? 4 : 2;
    const texels = new Float32Array(rows * TEXTURE_WIDTH * channels);
    for (let i = 0; i < entries; i++) {
      const logBeta = columns.logBeta[i];
      const evictedAt = columns.evictedAt[i];
      texels[channels * i] = Number.isNaN(logBeta) ? 1 : logBeta;
      texels[channels * i + 1] = evictedAt === STILL_CACHED ? 3e38 : evictedAt;
      if (columns.position) texels[channels * i + 2] = columns.position[i];
    }
    const entry = known ?? { texture: texture(gl), version: 0, rows, bytes: 0 };
    gl.bindTexture(gl.TEXTURE_2D, entry.texture);
    const [internal, format] = columns.position ? [gl.RGBA32F, gl.RGBA] : [gl.RG32F, gl.RG];
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
    gl.texImage2D(gl.TEXTURE_2D, 0, internal, TEXTURE_WIDTH, rows, 0, format, gl.FLOAT, texels);
    this.bytes += texels.byteLength - entry.bytes;
    Object.assign(entry, { version: columns.version, rows, bytes: texels.byteLength });
    this.uploaded.set(columns, entry);
    this.forget();
    return entry.texture;
  }

  private forget(): void {
    for (const [columns, { texture, bytes }] of this.uploaded) {
      if (this.bytes <= TEXTURE_BYTES || this.uploaded.size === 1) return;
      this.gl.deleteTexture(texture);
      this.uploaded.delete(columns);
      this.bytes -= bytes;
    }
  }
}

function texture(gl: WebGL2RenderingContext): WebGLTexture {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
  for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  return made;
}

function link(gl: WebGL2RenderingContext): WebGLProgram {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]] as const) {
    const shader = gl.createShader(type);
    if (!shader) throw new Error("the browser's WebGL2 makes no shader");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(`shader: ${gl.getShaderInfoLog(shader)}`);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`shader: ${gl.getProgramInfoLog(program)}`);
  return program;
}

function locate(gl: WebGL2RenderingContext, program: WebGLProgram): Uniforms {
  const found: Partial<Uniforms> = {};
  for (const name of UNIFORMS) {
    const location = gl.getUniformLocation(program, name);
    if (!location) throw new Error(`the shader has no uniform ${name}`);
    found[name] = location;
  }
  return found as Uniforms;
}
