// The caches of a layer's heads as lanes: time to the right, one row per place, one bar per token.
import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { halfLifeShare, longestHalfLife } from "../base/cells";
import { cssRgb, rampAt } from "../base/colour";
import { count, plural } from "../base/format";
import { type Axis, cellFromPixel, pan, pitchOf, pixelFromCell, whole, zoomAbout } from "../base/view_transform";
import type { LayerColumns } from "../data/columns";
import { type Slots, slotsOf } from "../data/slots";
import { type Trace, here } from "../data/trace";
import { cellColours, inks, ramp } from "../state/theme";
import { clearHover, hover, marked, show, view } from "../state/view";
import type { TableData } from "./panel";
import { Plot, type Surface, pointIn } from "./plot";

const LEFT = 44;
const TOP = 26;
const GAP = 8;

/** Where one head's places are in the box. */
interface Lane {
  head: number;
  slots: Slots;
  top: number;
  height: number;
  /** Rows drawn; fewer than places when there is too little height. */
  rows: number;
}

/** Places that one row of the lanes now on screen stands for, where they do not all fit. */
export const placesPerRow = signal(1);

/** Lives of the marked head's tokens, as the lanes draw them. */
export function lanesTable(trace: Trace): TableData {
  const { layer, head } = view.value;
  const columns = here(trace.layer(layer));
  const slots = columns && slotsOf(columns, head);
  const texts = here(trace.tokens)?.text;
  const shown = Math.min(columns?.seen ?? 0, 2000);
  const rows = Array.from({ length: shown }, (_, token) => {
    const gone = columns ? columns.evictedAt[columns.at(head, token)] : 0;
    return [slots?.of[token] ?? 0, token, JSON.stringify(texts?.[token] ?? ""), columns && gone > columns.seen ? "still cached" : gone];
  });
  return { caption: `Places of the cache of layer ${layer}, head ${head}`, columns: ["place", "born", "text", "evicted at"], rows, total: columns?.seen ?? 0 };
}

export function Lanes({ trace, columns }: { trace: Trace; columns: LayerColumns }) {
  const packed = useRef<{ of: LayerColumns; version: number; slots: Slots[] } | undefined>(undefined);
  const lanes = useRef<Lane[]>([]);
  const width = useRef(1);
  const timeAxis = (): Axis => {
    const zoom = view.value.zoom ?? whole(trace.seen.value);
    return { cell0: zoom[2], cell1: zoom[3], pixel0: LEFT, pixel1: Math.max(LEFT + 1, width.current - 8) };
  };
  const draw = (surface: Surface) => {
    void trace.version.value;
    width.current = surface.width;
    if (packed.current?.of !== columns || packed.current.version !== columns.version) {
      packed.current = { of: columns, version: columns.version, slots: Array.from({ length: columns.heads }, (_, head) => slotsOf(columns, head)) };
    }
    lanes.current = place(packed.current.slots, surface.height);
    placesPerRow.value = Math.max(...lanes.current.map(({ slots, rows }) => Math.ceil(slots.count / Math.max(1, rows))));
    drawTime(surface, timeAxis());
    for (const lane of lanes.current) drawLane(surface, columns, lane, timeAxis(), trace.seen.value);
  };
  const tokenAt = (event: MouseEvent): { head: number; token: number | null; query: number } | undefined => {
    const { x, y } = pointIn(event);
    const query = Math.floor(cellFromPixel(timeAxis(), x));
    const lane = lanes.current.find(({ top, height }) => y >= top && y < top + height);
    if (!lane || query < 0 || query >= columns.seen) return undefined;
    const row = Math.floor(((y - lane.top) / lane.height) * lane.rows);
    const slot = slotOfRow(lane, row);
    for (let token = Math.min(query, columns.seen - 1); token >= 0; token--) {
      if (lane.slots.of[token] === slot) return { head: lane.head, token: query < columns.evictedAt[columns.at(lane.head, token)] ? token : null, query };
    }
    return { head: lane.head, token: null, query };
  };
  return (
    <Plot
      class="lanes"
      label={`Caches of the ${plural(columns.heads, "head")} of layer ${columns.layer} as lanes: time to the right, each bar a token from birth to eviction`}
      draw={draw}
      onPointerMove={(event) => {
        const found = tokenAt(event);
        hover.token.value = found?.token ?? null;
        hover.query.value = found?.query ?? null;
        hover.head.value = found?.head ?? null;
      }}
      onPointerLeave={clearHover}
      onClick={(event) => {
        const found = tokenAt(event);
        if (found) show({ head: found.head, token: found.token });
      }}
      onDblClick={() => show({ zoom: null })}
      onWheel={(event) => {
        event.preventDefault();
        const zoom = view.peek().zoom ?? whole(trace.seen.peek());
        const about = cellFromPixel(timeAxis(), pointIn(event).x);
        const seen = trace.seen.peek();
        const cells = ((event.deltaX + event.deltaY) / 600) * (zoom[3] - zoom[2]);
        show({ zoom: event.shiftKey ? pan(zoom, cells, cells, seen) : zoomAbout(zoom, about, about, Math.exp(event.deltaY / 400), seen) });
      }}
    />
  );
}

function place(slots: readonly Slots[], height: number): Lane[] {
  const each = Math.max(6, (height - TOP - GAP * slots.length) / slots.length);
  return slots.map((slots, head) => ({ head, slots, top: TOP + head * (each + GAP), height: each, rows: Math.max(1, Math.min(slots.count, Math.floor(each))) }));
}

/** The place that a row shows: its own, or every k-th when there are more places than rows. */
function slotOfRow(lane: Lane, row: number): number {
  return Math.floor((row * lane.slots.count) / lane.rows);
}

function drawLane({ context, width }: Surface, columns: LayerColumns, lane: Lane, axis: Axis, seen: number): void {
  const ink = inks.value;
  const table = ramp.value;
  const { head, slots, top, height, rows } = lane;
  const longest = longestHalfLife(seen);
  const unit = height / rows;
  const rowOf = new Int32Array(slots.count).fill(-1);
  for (let row = 0; row < rows; row++) rowOf[slotOfRow(lane, row)] = row;
  context.fillStyle = cssRgb(cellColours.value.evicted, 0.5);
  context.fillRect(axis.pixel0, top, axis.pixel1 - axis.pixel0, height);
  const gap = unit > 3 ? 1 : 0;
  const end = pitchOf(axis) > 3 ? 1 : 0;
  const bar = (token: number, row: number): void => {
    const at = columns.at(head, token);
    const gone = Math.min(columns.evictedAt[at], columns.seen);
    if (row < 0 || gone <= axis.cell0 || token >= axis.cell1) return;
    const from = Math.max(axis.pixel0, pixelFromCell(axis, token));
    const to = Math.min(axis.pixel1, pixelFromCell(axis, gone));
    const logBeta = columns.logBeta[at];
    context.fillStyle = Number.isNaN(logBeta) ? cssRgb(cellColours.value.unknown) : cssRgb(rampAt(table, halfLifeShare(logBeta, longest)));
    context.fillRect(from, top + row * unit, Math.max(0.5, to - from - end), Math.max(0.5, unit - gap));
    if (token !== marked.value) return;
    context.strokeStyle = ink.accent;
    context.lineWidth = 2;
    context.strokeRect(from - 1, top + row * unit - 1, Math.max(2, to - from + 1), Math.max(2, unit + 1));
  };
  const last = Math.min(columns.seen, Math.ceil(axis.cell1));
  for (let token = 0; token < last; token++) bar(token, rowOf[slots.of[token]]);
  // The marked token comes last, and though its place may not be drawn, in the row nearest to it.
  const token = marked.value;
  if (token !== null && token < last) bar(token, Math.min(rows - 1, Math.floor((slots.of[token] * rows) / slots.count)));
  context.font = "11px 'IBM Plex Mono', monospace";
  context.textAlign = "right";
  context.textBaseline = "middle";
  const isChosen = head === view.value.head;
  context.fillStyle = isChosen ? ink.accent : ink.muted;
  context.fillText(`H${head}`, LEFT - 8, top + height / 2);
  if (isChosen) {
    context.strokeStyle = ink.accent;
    context.lineWidth = 1;
    context.strokeRect(axis.pixel0 - 1.5, top - 1.5, width - 8 - axis.pixel0 + 3, height + 3);
  }
}

function drawTime({ context, height }: Surface, axis: Axis): void {
  const ink = inks.value;
  context.font = "10px 'IBM Plex Mono', monospace";
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillStyle = ink.muted;
  const span = axis.cell1 - axis.cell0;
  const rough = span / Math.max(2, (axis.pixel1 - axis.pixel0) / 100);
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  const every = Math.max(1, [1, 2, 5, 10].map((step) => step * power).find((step) => step >= rough) ?? power);
  for (let tick = Math.ceil(axis.cell0 / every) * every; tick < axis.cell1; tick += every) {
    const x = pixelFromCell(axis, tick);
    context.fillRect(x, 18, 1, 4);
    context.fillText(count(tick), Math.max(LEFT + 8, x), 17);
  }
  const { now } = view.value;
  if (now !== null && now >= axis.cell0 && now < axis.cell1) {
    context.fillStyle = ink.accent;
    context.fillRect(pixelFromCell(axis, now + 1), 20, 1, height - 20);
  }
}
