// Runs inside the page under test: compares what its canvases show with what the formulas give.
import { type MapKind, longestHalfLife } from "../src/base/cells";
import { type CellColours, type Rgb, parseRgb, rampTable } from "../src/base/colour";
import type { LayerColumns } from "../src/data/columns";
import { LayerColumns as Columns } from "../src/data/columns";
import { HttpSource } from "../src/data/source";
import { CanvasPainter, pixels } from "../src/paint/canvas";
import { GlPainter } from "../src/paint/gl";
import type { Look, Panel } from "../src/paint/painter";
import { layOut, rectOf } from "../src/views/grid_layout";

/** How a picture compares with what it must be. */
export interface Compared {
  /** Pixels looked at. */
  pixels: number;
  /** Colours among them. */
  colours: number;
  /** Those that are further from the expected colour than a step of the ramp, and where the first is. */
  wrong: number;
  first: string;
}

function coloursOfPage(): CellColours {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => parseRgb(style.getPropertyValue(name));
  return { unborn: of("--unborn"), evicted: of("--evicted"), alive: of("--alive"), unknown: of("--unknown") };
}

function lookOf(kind: MapKind, seen: number): Look {
  const isDark = document.documentElement.dataset.theme === "dark";
  return { kind, longest: longestHalfLife(seen), colours: coloursOfPage(), ramp: rampTable("viridis", isDark) };
}

/** Steps of the ramp by colour. */
function stepsOf(ramp: Uint8Array): Map<string, number> {
  return new Map(Array.from({ length: 256 }, (_, step) => [[...ramp.subarray(3 * step, 3 * step + 3)].join(), step]));
}

/** Whether two colours are the same, or neighbours on the ramp; mixtures of the alive colour may differ by rounding. */
function isNear(found: Rgb, wanted: Rgb, steps: Map<string, number>): boolean {
  if (found.every((part, i) => Math.abs(part - wanted[i]) <= 1)) return true;
  const [a, b] = [steps.get(found.join()), steps.get(wanted.join())];
  return a !== undefined && b !== undefined && Math.abs(a - b) <= 1;
}

function compare(canvas: HTMLCanvasElement, panel: Panel, look: Look, only: (x: number, y: number) => boolean, so: Compared): void {
  // A copy, as reading the page's own canvas would make the browser draw it another way from then on.
  const context = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no canvas to copy to");
  context.drawImage(canvas, 0, 0);
  const [width, height] = [Math.round(panel.width), Math.round(panel.height)];
  const found = context.getImageData(Math.round(panel.x), Math.round(panel.y), width, height).data;
  const wanted = pixels(panel, width, height, look);
  const steps = stepsOf(look.ramp);
  const seen = new Set<string>();
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!only(x, y)) continue;
      const at = 4 * (y * width + x);
      const [is, must]: Rgb[] = [[found[at], found[at + 1], found[at + 2]], [wanted[at], wanted[at + 1], wanted[at + 2]]];
      seen.add(is.join());
      so.pixels += 1;
      if (isNear(is, must, steps)) continue;
      so.first ||= `pixel ${x}, ${y} of head ${panel.head} in layer ${panel.columns.layer}: rgb ${is.join()} instead of ${must.join()}`;
      so.wrong += 1;
    }
  }
  so.colours = Math.max(so.colours, seen.size);
}

const nothing = (): Compared => ({ pixels: 0, colours: 0, wrong: 0, first: "" });

/** The cells of a head view, given where they are in its canvas in CSS pixels. */
async function headView(canvas: HTMLCanvasElement, key: string, layer: number, head: number, kind: MapKind, room: { left: number; top: number; right: number; bottom: number }, zoom?: [number, number, number, number]): Promise<Compared> {
  const columns = await new HttpSource(key).lifetimes(layer, 1);
  const [x0, x1, y0, y1] = zoom ?? [0, columns.seen, 0, columns.seen];
  const box = canvas.getBoundingClientRect();
  const [width, height] = [box.width - room.left - room.right, box.height - room.top - room.bottom];
  const panel = { columns, head, x: room.left, y: room.top, width, height, cells: { x0, x1, y0, y1 } };
  const so = nothing();
  compare(canvas, panel, lookOf(kind, columns.seen), () => true, so);
  return so;
}

/** Rows of a thumbnail over which its role's name may stand; a long one such as "double window" reaches the diagonal. */
const BADGE_ROWS = 17;

/** All thumbnails of an overview by place. Only what is born, below the role's name. */
async function thumbnails(canvas: HTMLCanvasElement, key: string, kind: MapKind, smallest: number): Promise<Compared> {
  const source = new HttpSource(key);
  const { model } = (await source.facts()).manifest;
  const heads = Array.from({ length: model.layers * model.kv_heads }, (_, at) => ({ layer: Math.floor(at / model.kv_heads), head: at % model.kv_heads }));
  const box = canvas.getBoundingClientRect();
  const layout = layOut(box.width, box.height, heads, model.kv_heads, smallest);
  const so = nothing();
  const layers: LayerColumns[] = await Promise.all(Array.from({ length: model.layers }, (_, layer) => source.lifetimes(layer, 1)));
  heads.forEach(({ layer, head }, index) => {
    const { x, y, size } = rectOf(layout, index);
    const { seen } = layers[layer];
    const panel = { columns: layers[layer], head, x, y, width: size, height: size, cells: { x0: 0, x1: seen, y0: 0, y1: seen } };
    compare(canvas, panel, lookOf(kind, seen), (column, row) => column <= row && row >= BADGE_ROWS, so);
  });
  return so;
}

/** What a fixture of cells holds; see tests/integration/cells.rs. */
export interface CellsFixture {
  traces: {
    log_beta: number[] | null;
    evicted_at: (number | null)[];
    longest: number;
    blocks: { keys: [number, number]; queries: [number, number]; state: "unborn" | "evicted" | "alive"; retention: number | null; half_life: number | null; alive: number | null }[];
  }[];
}

/** Paints every block of a fixture as one pixel. RGB by trace, kind and block. */
function paintBlocks(fixture: CellsFixture, which: "WebGL2" | "canvas 2D", looks: { colours: CellColours; kinds: MapKind[] }): number[][][][] {
  const painter = which === "WebGL2" ? GlPainter.create(() => {}) : new CanvasPainter();
  if (!painter) throw new Error("this browser has no WebGL2");
  return fixture.traces.map(({ log_beta, evicted_at, longest, blocks }) => {
    const seen = evicted_at.length;
    const logBeta = Float32Array.from({ length: seen }, (_, at) => log_beta?.[at] ?? NaN);
    const evictedAt = Uint32Array.from(evicted_at, (at) => at ?? 0xffffffff);
    const columns = new Columns(0, 1, seen, 1, seen, logBeta, evictedAt, new Float32Array(seen));
    const panels = blocks.map(({ keys, queries }, x) => ({
      columns, head: 0, x, y: 0, width: 1, height: 1,
      cells: { x0: keys[0], x1: keys[1], y0: queries[0], y1: queries[1] },
    }));
    return looks.kinds.map((kind) => {
      const picture = painter.paint(panels.length, 1, panels, { kind, longest, colours: looks.colours, ramp: rampTable("viridis", false) });
      const copy = new OffscreenCanvas(panels.length, 1).getContext("2d", { willReadFrequently: true });
      if (!copy) throw new Error("no canvas to copy to");
      copy.drawImage(picture, 0, 0);
      const { data } = copy.getImageData(0, 0, panels.length, 1);
      return panels.map((_, x) => [...data.subarray(4 * x, 4 * x + 3)]);
    });
  });
}

const probe = { headView, thumbnails, paintBlocks };
export type Probe = typeof probe;
(globalThis as unknown as { probe: Probe }).probe = probe;
