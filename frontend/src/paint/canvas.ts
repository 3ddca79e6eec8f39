// Paints triangles on the CPU, pixel by pixel, where there is no WebGL2.
import { cellsOfPixel, shownIn } from "../base/cells";
import { colourOf } from "../base/colour";
import { type Look, type Painter, type Panel, levelFor } from "./painter";

export class CanvasPainter implements Painter {
  readonly name = "canvas 2D";
  private readonly canvas = document.createElement("canvas");

  paint(width: number, height: number, panels: readonly Panel[], look: Look): CanvasImageSource {
    this.canvas.width = width;
    this.canvas.height = height;
    const context = this.canvas.getContext("2d");
    if (!context) throw new Error("this browser gives no canvas to draw on");
    for (const panel of panels) {
      const w = Math.round(panel.width);
      const h = Math.round(panel.height);
      if (w > 0 && h > 0) context.putImageData(new ImageData(pixels(panel, w, h, look), w, h), Math.round(panel.x), Math.round(panel.y));
    }
    return this.canvas;
  }
}

/** The panel's pixels, RGBA. */
export function pixels(panel: Panel, width: number, height: number, look: Look): Uint8ClampedArray<ArrayBuffer> {
  const level = levelFor(panel);
  const head = level.head(panel.head);
  const { x0, x1, y0, y1 } = panel.cells;
  const columns = Array.from({ length: width }, (_, x) => cellsOfPixel(x, x0, (x1 - x0) / width));
  const out = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    const [query0, query1] = cellsOfPixel(y, y0, (y1 - y0) / height);
    for (let x = 0; x < width; x++) {
      const [key0, key1] = columns[x];
      const shown = shownIn(head, { key0, key1, query0, query1 }, look.kind, look.longest);
      const at = 4 * (y * width + x);
      out.set(colourOf(shown, look.kind, look.colours, look.ramp), at);
      out[at + 3] = 255;
    }
  }
  return out;
}
