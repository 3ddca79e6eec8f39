// The one interface by which triangles are painted, and the choice of who paints them.
import type { MapKind } from "../base/cells";
import type { CellColours } from "../base/colour";
import type { LayerColumns } from "../data/columns";
import { CanvasPainter } from "./canvas";
import { GlPainter } from "./gl";

/** A head's triangle, or a part of it, in a rectangle of device pixels. */
export interface Panel {
  columns: LayerColumns;
  head: number;
  x: number;
  y: number;
  width: number;
  height: number;
  /** The cells shown, in tokens: keys `x0..x1` to the right, queries `y0..y1` down. */
  cells: { x0: number; x1: number; y0: number; y1: number };
}

/** How all panels of a picture look. */
export interface Look {
  kind: MapKind;
  /** Half-life in tokens at the end of the half-life axis. */
  longest: number;
  colours: CellColours;
  ramp: Uint8Array;
}

/** Paints panels. What it returns is valid until it paints again. */
export interface Painter {
  readonly name: "WebGL2" | "canvas 2D";
  paint(width: number, height: number, panels: readonly Panel[], look: Look): CanvasImageSource;
}

let shared: Painter | undefined;

/** The page's painter: one WebGL2 context for all views, or the CPU where there is none. */
export function painter(): Painter {
  shared ??= choose();
  return shared;
}

function choose(): Painter {
  if (new URLSearchParams(location.search).get("painter") !== "canvas") {
    const gl = GlPainter.create(() => {
      shared = new CanvasPainter();
      dispatchEvent(new Event("painter-changed"));
    });
    if (gl) return gl;
  }
  return new CanvasPainter();
}

/** The coarsest level at which a pixel of this panel still reads a few entries at least. */
export function levelFor(panel: Panel): LayerColumns {
  const tokensPerPixel = (panel.cells.x1 - panel.cells.x0) / Math.max(1, panel.width);
  return panel.columns.level(tokensPerPixel);
}
