// Tokens' scores falling, and the score below which each cut threw out.
import { scaleLinear } from "d3-scale";
import { cssRgb } from "../base/colour";
import { count, number } from "../base/format";
import type { Trace } from "../data/trace";
import { cellColours, inks } from "../state/theme";
import { hover, show, view } from "../state/view";
import type { LifeLine } from "./life_line";
import { type HeadCuts, thresholdAt, thresholdSteps } from "./life_line_cuts";
import { canBeLog, scoreScale, wantsLog } from "./life_line_scale";
import { Plot, type Surface, pointIn } from "./plot";
import { BOTTOM, LEFT, RIGHT, TOP, axes, haloed, marker, plate } from "./time_axes";

/** A life line and how it is told apart: a letter, and a colour. */
export interface Drawn {
  line: LifeLine;
  letter: string;
  colour: string;
}

export interface LifeLinePlotProps {
  trace: Trace;
  drawn: readonly Drawn[];
  cuts: HeadCuts;
  /** Null: by need. */
  isLog: boolean | null;
  unit: string;
  /** Tokens seen, from and to. */
  span: readonly [number, number];
}

/** Tokens seen over which the lines' lives reach, with a little room. */
export function spanOf(lines: readonly LifeLine[], seen: number): [number, number] {
  const start = Math.min(...lines.map((line) => line.position));
  const end = Math.max(...lines.map((line) => line.evictedAt ?? seen));
  const room = Math.max(2, Math.round((end - start) * 0.06));
  return [start, Math.min(seen, end + room)];
}

/** Scores that the picture has to hold, and among them those at which something was decided. */
export function scoresOf({ drawn, cuts, span, trace }: Pick<LifeLinePlotProps, "drawn" | "cuts" | "span" | "trace">): { all: number[]; decided: number[] } {
  const known = (score: number) => Number.isFinite(score);
  const seen = trace.seen.peek();
  const thresholds = cuts.threshold.filter((threshold, index) => known(threshold) && cuts.tokensSeen[index] >= span[0] && cuts.tokensSeen[index] <= span[1]);
  const ends = drawn.flatMap(({ line }) => [line.score, line.scoreAt(line.evictedAt ?? seen)]).filter(known);
  const births = drawn.map(({ line }) => line.scoreAt(line.position + 1)).filter(known);
  return { all: [...thresholds, ...ends, ...births], decided: [...thresholds, ...ends] };
}

export function LifeLinePlot(props: LifeLinePlotProps) {
  const { trace, drawn, span } = props;
  const draw = (surface: Surface) => drawLives(surface, props);
  const tokensAt = (event: MouseEvent): number | null => {
    const { width } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const share = (pointIn(event).x - LEFT) / (width - LEFT - RIGHT);
    const tokens = Math.round(span[0] + share * (span[1] - span[0]));
    return share < 0 || share > 1 || tokens < 1 ? null : Math.min(trace.seen.peek(), tokens);
  };
  return (
    <Plot
      label={`Scores of ${drawn.length === 1 ? "one token" : `${drawn.length} tokens`} over tokens seen, against the lowest score that stayed at each cut; the list beside it says in words how each token ended`}
      draw={draw}
      onPointerMove={(event) => {
        const tokens = tokensAt(event);
        hover.query.value = tokens === null ? null : tokens - 1;
      }}
      onPointerLeave={() => (hover.query.value = null)}
      onClick={(event) => {
        const tokens = tokensAt(event);
        if (tokens !== null) show({ now: tokens >= trace.seen.peek() ? null : tokens - 1 });
      }}
    />
  );
}

function drawLives({ context, width, height }: Surface, props: LifeLinePlotProps): void {
  const { trace, drawn, cuts, span, unit } = props;
  const ink = inks.value;
  const seen = trace.seen.value;
  const ground = height - BOTTOM;
  const { all, decided } = scoresOf(props);
  const x = scaleLinear([span[0], span[1]], [LEFT, width - RIGHT]);
  if (all.length === 0) return;
  const isLog = props.isLog ?? wantsLog(decided);
  const y = scoreScale(all, isLog && canBeLog(all), [ground, TOP + 4]);
  axes(context, x, y, width, height, short);
  context.save();
  context.beginPath();
  context.rect(LEFT, 0, width - LEFT - RIGHT + 8, ground);
  context.clip();
  const steps = thresholdSteps(cuts, span);
  context.fillStyle = cssRgb(cellColours.value.evicted, 0.7);
  for (const { from, to, threshold } of steps) {
    // On whole pixels, so that neighbours leave no seam.
    const [left, right] = [Math.round(x(from)), Math.round(x(to))];
    context.fillRect(left, y(threshold), right - left, Math.max(0, ground - y(threshold)));
  }
  context.strokeStyle = ink.ink;
  context.lineWidth = 1.25;
  context.beginPath();
  let before = NaN;
  for (const { from, to, threshold } of steps) {
    if (from === before) context.lineTo(x(from), y(threshold));
    else context.moveTo(x(from), y(threshold));
    context.lineTo(x(to), y(threshold));
    before = to;
  }
  context.stroke();
  for (const { line, colour } of drawn) descent(context, line, seen, x, y, colour);
  if (steps.length > 0) {
    const text = "under the lowest score that stayed: evicted";
    context.font = "11px 'IBM Plex Sans', sans-serif";
    context.textBaseline = "bottom";
    context.textAlign = "left";
    const wide = context.measureText(text).width;
    const crossings = (left: number) => crossed(drawn, seen, x, y, { left, right: left + wide, top: ground - 20, bottom: ground });
    const places = [width - RIGHT - 4 - wide, LEFT + 6, (LEFT + width - RIGHT - wide) / 2];
    const [place] = places.sort((a, b) => crossings(a) - crossings(b));
    haloed(context, text, place, ground - 4, ink.paper, ink.muted);
  }
  context.restore();
  const now = Math.min(seen, (view.value.now ?? seen - 1) + 1);
  if (now >= span[0] && now <= span[1]) marker(context, x(now), TOP, ground, ink.accent, 1.5);
  const hovered = hover.query.value;
  if (hovered !== null && hovered + 1 >= span[0] && hovered + 1 <= span[1]) marker(context, x(hovered + 1), TOP, ground, ink.ink, 0.75);
  ends(context, drawn, seen, x, y, ink.paper, ink.ink, height);
  context.font = "11px 'IBM Plex Sans', sans-serif";
  context.textAlign = "left";
  context.textBaseline = "bottom";
  plate(context, `score, ${unit}${y.isLog ? ", log axis" : ""}`, LEFT + 3, TOP, ink.paper, ink.muted);
}

/** A tick's number in little room. */
function short(value: number): string {
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(0).replaceAll("-", "−") : number(value);
}

/** The score from birth to its end; where it cannot be computed, nothing. */
function descent(context: CanvasRenderingContext2D, line: LifeLine, seen: number, x: (tokens: number) => number, y: (score: number) => number, colour: string): void {
  const from = line.position + 1;
  const to = line.evictedAt ?? seen;
  if (Number.isNaN(line.scoreAt(from))) return;
  const pixels = Math.max(1, Math.ceil(x(to) - x(from)));
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  for (let pixel = 0; pixel <= pixels; pixel++) {
    const tokens = from + ((to - from) * pixel) / pixels;
    context.lineTo(x(tokens), y(line.scoreAt(tokens)));
  }
  context.stroke();
}

/** How many of the lines pass through a box. */
function crossed(drawn: readonly Drawn[], seen: number, x: (tokens: number) => number, y: (score: number) => number, box: { left: number; right: number; top: number; bottom: number }): number {
  const samples = 64;
  return drawn.filter(({ line }) => {
    const [from, to] = [line.position + 1, line.evictedAt ?? seen];
    for (let step = 0; step <= samples; step++) {
      const tokens = from + ((to - from) * step) / samples;
      const [px, py] = [x(tokens), y(line.scoreAt(tokens))];
      if (px >= box.left - 8 && px <= box.right + 8 && py >= box.top - 8 && py <= box.bottom + 8) return true;
    }
    return false;
  }).length;
}

/** A cross where a token was evicted, a dot where one is still cached, and its letter beside it. */
function ends(context: CanvasRenderingContext2D, drawn: readonly Drawn[], seen: number, x: (tokens: number) => number, y: (score: number) => number, paper: string, ink: string, height: number): void {
  const taken: { x: number; y: number }[] = [];
  for (const { line, letter, colour } of drawn) {
    const at = line.evictedAt ?? (Number.isNaN(line.scoreAt(seen)) ? (line.weighedAt ?? seen) : seen);
    const computed = line.scoreAt(at);
    const score = Number.isNaN(computed) ? line.score : computed;
    if (Number.isNaN(score)) continue;
    const [px, py] = [x(at), y(score)];
    if (line.evictedAt !== null) {
      for (const [stroke, width] of [[paper, 5], [colour, 2.25]] as const) {
        context.strokeStyle = stroke;
        context.lineWidth = width;
        context.beginPath();
        context.moveTo(px - 4.5, py - 4.5);
        context.lineTo(px + 4.5, py + 4.5);
        context.moveTo(px + 4.5, py - 4.5);
        context.lineTo(px - 4.5, py + 4.5);
        context.stroke();
      }
    } else {
      context.fillStyle = colour;
      context.beginPath();
      context.arc(px, py, 4, 0, 2 * Math.PI);
      context.fill();
    }
    // A letter that would cover another goes above it.
    let ly = py - 13;
    while (taken.some((other) => Math.abs(other.x - px) < 13 && Math.abs(other.y - ly) < 14) && ly > 14) ly -= 14;
    ly = Math.min(height - 30, Math.max(10, ly));
    taken.push({ x: px, y: ly });
    context.font = "600 12px 'IBM Plex Sans', sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = paper;
    context.beginPath();
    context.arc(px, ly, 8, 0, 2 * Math.PI);
    context.fill();
    context.strokeStyle = colour;
    context.lineWidth = 1.5;
    context.stroke();
    context.fillStyle = ink;
    context.fillText(letter, px, ly + 0.5);
  }
}

/** What holds after so many tokens, in words. */
export function momentWords({ drawn, cuts }: Pick<LifeLinePlotProps, "drawn" | "cuts">, tokens: number): string {
  const { threshold, at } = thresholdAt(cuts, tokens);
  const line = cuts.tokensSeen.length === 0 ? "no cuts are recorded" : at === 0 ? "no cut yet" : Number.isNaN(threshold) ? "the last cut's threshold is not known" : `lowest score that stayed ${number(threshold)} (cut after ${count(at)})`;
  const scores = drawn.map(({ line: life, letter }) => {
    if (tokens <= life.position) return `${letter} not born`;
    if (life.evictedAt !== null && tokens > life.evictedAt) return `${letter} evicted`;
    const score = life.scoreAt(tokens);
    return Number.isNaN(score) ? `${letter} cached` : `${letter} ${number(score)}`;
  });
  return `${line}; ${scores.join(", ")}`;
}
