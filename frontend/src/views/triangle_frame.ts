// What stands around and over a triangle's cells: axes, bands, ticks, marginals, crosshair.
import { scaleLinear } from "d3-scale";
import { count, visible } from "../base/format";
import { type Axis, pitchOf, pixelFromCell } from "../base/view_transform";
import { budgetOf } from "../data/budget";
import type { LayerColumns } from "../data/columns";
import { cutsOfHead, lifeShare, occupancyOf } from "../data/head_facts";
import type { Tokens } from "../data/model";
import { type Trace, here } from "../data/trace";
import { type Inks, inks } from "../state/theme";
import { hover, view } from "../state/view";
import { ROOM } from "./triangle";
import type { Surface } from "./plot";

const MONO = "'IBM Plex Mono', monospace";
/** Pixels to a cell from which tokens are named. */
const NAMED = 11;
/** Thickness of the band that tells prompt from generated. */
const BAND = 4;

interface Axes {
  keys: Axis;
  queries: Axis;
}

export function drawFrame(surface: Surface, trace: Trace, columns: LayerColumns, axes: Axes): void {
  const ink = inks.value;
  const tokens = here(trace.tokens);
  const { context } = surface;
  context.lineWidth = 1;
  context.strokeStyle = ink.rule;
  const { keys, queries } = axes;
  context.strokeRect(keys.pixel0 - 0.5, queries.pixel0 - 0.5, keys.pixel1 - keys.pixel0 + 1, queries.pixel1 - queries.pixel0 + 1);
  bands(context, axes, trace, tokens, ink);
  keyAxis(context, keys, tokens, ink, axes);
  queryAxis(context, queries, tokens, ink);
  cutTicks(context, queries, trace, ink);
  keyMarginal(context, keys, columns, ink);
  queryMarginal(surface, queries, columns, trace, ink);
  marks(context, axes, ink);
}

/** Prompt, thought and answer along both axes. */
function bands(context: CanvasRenderingContext2D, { keys, queries }: Axes, trace: Trace, tokens: Tokens | undefined, ink: Inks): void {
  const parts = partsOf(trace, tokens);
  for (const { from, to, name } of parts) {
    context.fillStyle = name === "prompt" ? ink.muted : name === "think" ? ink.rule : ink.accent;
    clipped(keys, from, to, (a, b) => context.fillRect(a, keysTop(queries) - BAND, b - a, BAND));
    clipped(queries, from, to, (a, b) => context.fillRect(ROOM.left - BAND, a, BAND, b - a));
  }
}

/** Runs of tokens that belong together: the prompt, what was thought, the answer. */
export function partsOf(trace: Trace, tokens: Tokens | undefined): { from: number; to: number; name: string }[] {
  const seen = trace.seen.value;
  const prompt = Math.min(trace.promptTokens, seen);
  const parts = prompt > 0 ? [{ from: 0, to: prompt, name: "prompt" }] : [];
  const think = tokens?.roleNames.indexOf("think") ?? -1;
  for (let position = prompt; position < seen; position++) {
    const name = think >= 0 && tokens?.role[position] === think ? "think" : "answer";
    const last = parts[parts.length - 1];
    if (last?.name === name) last.to = position + 1;
    else parts.push({ from: position, to: position + 1, name });
  }
  return parts;
}

function keysTop(queries: Axis): number {
  return queries.pixel0 - 1;
}

function clipped(axis: Axis, from: number, to: number, draw: (a: number, b: number) => void): void {
  const a = Math.max(axis.pixel0, pixelFromCell(axis, from));
  const b = Math.min(axis.pixel1, pixelFromCell(axis, to));
  if (b > a) draw(a, b);
}

function keyAxis(context: CanvasRenderingContext2D, axis: Axis, tokens: Tokens | undefined, ink: Inks, { queries }: Axes): void {
  const pitch = pitchOf(axis);
  const base = keysTop(queries) - BAND - 2;
  context.fillStyle = ink.muted;
  context.font = `10px ${MONO}`;
  const sentenceEnd = tokens?.classNames.indexOf("sentence_end") ?? -1;
  if (pitch >= NAMED && tokens) {
    context.textAlign = "left";
    context.textBaseline = "middle";
    forCells(axis, (cell, from) => {
      context.save();
      context.translate(from + pitch / 2, base - 1);
      context.rotate(-Math.PI / 3);
      context.fillStyle = tokens.class[cell] === sentenceEnd ? ink.accent : ink.ink;
      context.fillText(shortened(visible(tokens.text[cell] ?? "")), 0, 0);
      context.restore();
    });
    return;
  }
  context.textAlign = "center";
  context.textBaseline = "bottom";
  for (const tick of scaleLinear([axis.cell0, axis.cell1], [0, 1]).ticks(Math.max(2, (axis.pixel1 - axis.pixel0) / 90))) {
    if (!Number.isInteger(tick)) continue;
    const x = pixelFromCell(axis, tick + 0.5);
    context.fillRect(x, base - 4, 1, 4);
    const text = count(tick);
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(axis.pixel1 - half, Math.max(axis.pixel0 + half, x)), base - 5);
  }
  // Ends of sentences, where gist tokens are expected.
  if (tokens && sentenceEnd >= 0 && pitch >= 0.4) {
    context.fillStyle = ink.ink;
    forCells(axis, (cell, from) => {
      if (tokens.class[cell] === sentenceEnd) context.fillRect(from + pitch / 2 - 0.5, base - 2, 1, 3);
    });
  }
}

function queryAxis(context: CanvasRenderingContext2D, axis: Axis, tokens: Tokens | undefined, ink: Inks): void {
  const pitch = pitchOf(axis);
  context.fillStyle = ink.muted;
  context.font = `10px ${MONO}`;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const right = ROOM.left - BAND - 8;
  if (pitch >= NAMED && tokens) {
    context.fillStyle = ink.ink;
    forCells(axis, (cell, from) => context.fillText(shortened(visible(tokens.text[cell] ?? "")), right, from + pitch / 2));
    return;
  }
  for (const tick of scaleLinear([axis.cell0, axis.cell1], [0, 1]).ticks(Math.max(2, (axis.pixel1 - axis.pixel0) / 60))) {
    if (!Number.isInteger(tick)) continue;
    const y = pixelFromCell(axis, tick + 0.5);
    context.fillText(count(tick), right, Math.min(axis.pixel1 - 5, Math.max(axis.pixel0 + 5, y)));
  }
}

function shortened(text: string): string {
  const letters = [...text];
  return letters.length > 8 ? `${letters.slice(0, 7).join("")}…` : text;
}

function forCells(axis: Axis, draw: (cell: number, from: number) => void): void {
  for (let cell = Math.floor(axis.cell0); cell < Math.ceil(axis.cell1); cell++) {
    const middle = pixelFromCell(axis, cell + 0.5);
    if (middle >= axis.pixel0 && middle <= axis.pixel1) draw(cell, pixelFromCell(axis, cell));
  }
}

/** Cuts of the head, left of the query axis' band: at the first query that is blind to what the cut removed. */
function cutTicks(context: CanvasRenderingContext2D, axis: Axis, trace: Trace, ink: Inks): void {
  const { layer, head } = view.value;
  const cuts = here(trace.cuts(layer));
  if (!cuts) return;
  context.fillStyle = ink.accent;
  let last = -Infinity;
  for (const { tokensSeen } of cutsOfHead(cuts, head)) {
    const y = pixelFromCell(axis, tokensSeen);
    if (y < axis.pixel0 || y > axis.pixel1 || y - last < 2) continue;
    last = y;
    context.fillRect(ROOM.left - BAND - 6, y - 0.5, 5, 1);
  }
}

/** Above the keys: of the queries that could have seen a token, the share that did; its longest-living token per pixel. */
function keyMarginal(context: CanvasRenderingContext2D, axis: Axis, columns: LayerColumns, ink: Inks): void {
  if (pitchOf(axis) >= NAMED) return; // Names of tokens stand there.
  const { head } = view.value;
  const { seen } = columns;
  const bottom = 26;
  context.fillStyle = ink.muted;
  for (let x = Math.floor(axis.pixel0); x < axis.pixel1; x++) {
    const from = Math.max(0, Math.floor(axis.cell0 + ((x - axis.pixel0) / (axis.pixel1 - axis.pixel0)) * (axis.cell1 - axis.cell0)));
    const to = Math.min(seen, Math.max(from + 1, Math.ceil(axis.cell0 + ((x + 1 - axis.pixel0) / (axis.pixel1 - axis.pixel0)) * (axis.cell1 - axis.cell0))));
    let share = 0;
    for (let key = from; key < to; key++) share = Math.max(share, lifeShare(key, columns.evictedAt[columns.at(head, key)], seen));
    context.fillRect(x, bottom - 22 * share, 1, 22 * share);
  }
  context.fillStyle = ink.rule;
  context.fillRect(axis.pixel0, bottom, axis.pixel1 - axis.pixel0, 1);
  label(context, "life", axis.pixel0 - 6, 16, "right", ink);
}

/** Right of the queries: entries cached, against the budget. */
function queryMarginal({ context, width }: Surface, axis: Axis, columns: LayerColumns, trace: Trace, ink: Inks): void {
  const cached = occupancyOf(columns, view.value.head);
  const budget = budgetOf(trace.facts.manifest.policy)?.budget;
  const left = width - ROOM.right + 8;
  const room = ROOM.right - 14;
  const most = cached.reduce((most, entries) => Math.max(most, entries), 1);
  context.fillStyle = ink.muted;
  for (let y = Math.floor(axis.pixel0); y < axis.pixel1; y++) {
    const from = Math.max(0, Math.floor(axis.cell0 + ((y - axis.pixel0) / (axis.pixel1 - axis.pixel0)) * (axis.cell1 - axis.cell0)));
    const to = Math.min(cached.length, Math.max(from + 1, Math.ceil(axis.cell0 + ((y + 1 - axis.pixel0) / (axis.pixel1 - axis.pixel0)) * (axis.cell1 - axis.cell0))));
    let entries = 0;
    for (let query = from; query < to; query++) entries = Math.max(entries, cached[query]);
    context.fillRect(left, y, (room * entries) / most, 1);
  }
  if (budget !== undefined && budget <= most) {
    context.fillStyle = ink.accent;
    context.fillRect(left + (room * budget) / most, axis.pixel0, 1, axis.pixel1 - axis.pixel0);
    label(context, `M ${count(budget)}`, width - 6, axis.pixel0 - 20, "right", ink, ink.accent);
  }
  label(context, "cached", width - 6, axis.pixel0 - 8, "right", ink);
}

function label(context: CanvasRenderingContext2D, text: string, x: number, y: number, align: CanvasTextAlign, ink: Inks, colour = ink.muted): void {
  context.font = "10px 'IBM Plex Sans', sans-serif";
  context.textAlign = align;
  context.textBaseline = "middle";
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

/** The token and query under the pointer, the pinned ones, and now. */
function marks(context: CanvasRenderingContext2D, { keys, queries }: Axes, ink: Inks): void {
  const { token, pins, now } = view.value;
  const column = (cell: number, colour: string, alpha: number) =>
    clipped(keys, cell, cell + 1, (a, b) => {
      context.globalAlpha = alpha;
      context.strokeStyle = colour;
      context.strokeRect(Math.round(a) - 0.5, queries.pixel0, Math.max(1, Math.round(b - a)) + 1, queries.pixel1 - queries.pixel0);
      context.globalAlpha = 1;
    });
  const row = (cell: number, colour: string, alpha: number) =>
    clipped(queries, cell, cell + 1, (a, b) => {
      context.globalAlpha = alpha;
      context.strokeStyle = colour;
      context.strokeRect(keys.pixel0, Math.round(a) - 0.5, keys.pixel1 - keys.pixel0, Math.max(1, Math.round(b - a)) + 1);
      context.globalAlpha = 1;
    });
  for (const pin of pins) column(pin, ink.accent, 0.5);
  if (token !== null) column(token, ink.accent, 1);
  if (now !== null) {
    context.setLineDash([4, 3]);
    row(now, ink.accent, 0.9);
    context.setLineDash([]);
  }
  if (hover.token.value !== null) column(hover.token.value, ink.ink, 0.45);
  if (hover.query.value !== null) row(hover.query.value, ink.ink, 0.45);
}
