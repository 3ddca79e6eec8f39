// How the time strip is drawn: occupancy, cuts, evictions, the prompt's end, now.
import { cssRgb } from "../base/colour";
import type { Trace } from "../data/trace";
import { cellColours, inks } from "../state/theme";
import { hover, view } from "../state/view";
import { type Series, columnsOf } from "./occupancy";
import type { Surface } from "./plot";
import { haloed } from "./time_axes";

/** Height of the cuts' ticks under the occupancy, in CSS pixels; and the share of the strip's height that the evictions get under them. */
const TICKS = 5;
const BARS = 0.25;
/** Where the line of a full cache ends, in CSS pixels from the top. */
const LINE_TOP = 3;
/** Room at both sides, so that the marker of "now" is whole at the ends. */
export const EDGE = 6;

/** A run's occupancy, and over what it was counted. */
export interface Counted {
  series: Series;
  /** Why not over all heads as recorded; undefined where it is. */
  note: string | undefined;
}

/** Spreads a series over pixels once for as long as neither changes. */
export function spreading() {
  let known: { series: Series; seen: number; width: number; columns: ReturnType<typeof columnsOf> } | undefined;
  return (series: Series, seen: number, width: number) => {
    if (known?.series !== series || known.seen !== seen || known.width !== width) {
      known = { series, seen, width, columns: columnsOf(series, seen, width) };
    }
    return known.columns;
  };
}

export function drawStrip({ context, width: wide, height, ratio }: Surface, trace: Trace, counted: Counted | "waiting", spread: ReturnType<typeof spreading>): void {
  const ink = inks.value;
  const seen = trace.seen.value;
  const barsHeight = Math.round(BARS * height);
  const ground = height - barsHeight - TICKS;
  const width = wide - 2 * EDGE;
  if (seen === 0 || width < 8) return;
  context.translate(EDGE, 0);
  const toX = (tokens: number) => (tokens / seen) * width;
  const now = Math.min(seen, (view.value.now ?? seen - 1) + 1);
  if (counted !== "waiting" && counted.series.count > 0) {
    const { series } = counted;
    const pixels = Math.max(1, Math.round(width * ratio));
    const { cached, evicted } = spread(series, seen, pixels);
    const most = cached.reduce((a, b) => Math.max(a, b), 1);
    const top = 1.25 * most;
    const toY = (entries: number) => ground - (entries / top) * (ground - 2);
    area(context, cached, ratio, ground, toY, cssRgb(cellColours.value.alive), toX(now));
    // With nothing evicted; it ends where the picture does.
    const atEnd = toY(series.heads * seen);
    const shown = Math.min(1, (ground - LINE_TOP) / Math.max(1, ground - atEnd));
    context.strokeStyle = ink.muted;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, ground);
    context.lineTo(width * shown, ground + (atEnd - ground) * shown);
    context.stroke();
    bars(context, evicted, ratio, height, barsHeight, ink.alert);
    ticks(context, series, seen, width, ground, ink.muted);
  }
  context.strokeStyle = ink.rule;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(0, ground + 0.5);
  context.lineTo(width, ground + 0.5);
  context.stroke();
  boundary(context, trace, seen, toX, height, width);
  cursor(context, toX(now), height, ink.accent);
  const hovered = hover.query.value;
  if (hovered !== null) {
    context.strokeStyle = ink.ink;
    context.globalAlpha = 0.5;
    context.beginPath();
    context.moveTo(Math.round(toX(hovered + 1)) + 0.5, 0);
    context.lineTo(Math.round(toX(hovered + 1)) + 0.5, height);
    context.stroke();
    context.globalAlpha = 1;
  }
}

/** What is cached; what lies after "now" is paler. */
function area(context: CanvasRenderingContext2D, cached: Float64Array, ratio: number, ground: number, toY: (entries: number) => number, colour: string, now: number): void {
  context.fillStyle = colour;
  const unit = 1 / ratio;
  for (let pixel = 0; pixel < cached.length; pixel++) {
    const x = pixel * unit;
    const y = toY(cached[pixel]);
    context.globalAlpha = x < now ? 0.34 : 0.13;
    context.fillRect(x, y, unit, ground - y);
    context.globalAlpha = x < now ? 1 : 0.45;
    context.fillRect(x, y, unit, 1.5);
  }
  context.globalAlpha = 1;
}

function bars(context: CanvasRenderingContext2D, evicted: Float64Array, ratio: number, height: number, tallest: number, colour: string): void {
  const most = evicted.reduce((a, b) => Math.max(a, b), 0);
  if (most === 0) return;
  context.fillStyle = colour;
  // A bar is at least one CSS pixel wide and high, so that a single eviction shows.
  evicted.forEach((amount, pixel) => {
    if (amount === 0) return;
    const tall = Math.max(1, (amount / most) * (tallest - 1));
    context.fillRect(pixel / ratio - 0.5, height - tall, Math.max(1, 1 / ratio), tall);
  });
}

/** A tick per cut; a line where they would touch. */
function ticks(context: CanvasRenderingContext2D, series: Series, seen: number, width: number, ground: number, colour: string): void {
  context.fillStyle = colour;
  let last = -Infinity;
  for (let row = 0; row < series.count; row++) {
    if (series.evicted[row] === 0) continue;
    const x = (series.tokensSeen[row] / seen) * width;
    if (x - last < 0.5) continue;
    context.fillRect(x - 0.5, ground + 1, 1, TICKS - 1);
    last = x;
  }
}

/** Where the prompt ends. */
function boundary(context: CanvasRenderingContext2D, trace: Trace, seen: number, toX: (tokens: number) => number, height: number, width: number): void {
  const { promptTokens } = trace;
  if (promptTokens <= 0) return;
  const ink = inks.value;
  const x = toX(Math.min(seen, promptTokens));
  context.fillStyle = ink.muted;
  context.font = "10px 'IBM Plex Sans', sans-serif";
  context.textBaseline = "top";
  const label = (text: string, right: number, align: CanvasTextAlign) => {
    context.textAlign = align;
    haloed(context, text, right, 1, ink.paper, ink.muted);
  };
  if (promptTokens < seen) {
    context.setLineDash([2, 2]);
    context.strokeStyle = ink.muted;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(Math.round(x) + 0.5, 0);
    context.lineTo(Math.round(x) + 0.5, height);
    context.stroke();
    context.setLineDash([]);
    if (height > 40 && width - x > 62) label("generated", x + 4, "left");
  }
  if (height > 40 && x > 44) label("prompt", x - 4, "right");
}

function cursor(context: CanvasRenderingContext2D, x: number, height: number, colour: string): void {
  const at = Math.round(x);
  context.fillStyle = colour;
  context.fillRect(at - 1, 0, 2, height);
  context.beginPath();
  context.moveTo(at - 5, 0);
  context.lineTo(at + 5, 0);
  context.lineTo(at, 7);
  context.closePath();
  context.fill();
}
