// A head's triangle: every (key, query) cell from two numbers per token, at any zoom.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { batch } from "@preact/signals";
import { longestHalfLife } from "../base/cells";
import { type Axis, type Zoom, cellFromPixel, pan, pitchOf, reveal, whole, zoomAbout } from "../base/view_transform";
import type { LayerColumns } from "../data/columns";
import { type Trace, here } from "../data/trace";
import { KeptPicture } from "../paint/kept";
import { painter } from "../paint/painter";
import { offer } from "../state/commands";
import { cellColours, ramp } from "../state/theme";
import { clearHover, hover, show, view } from "../state/view";
import { drawFrame } from "./triangle_frame";
import { Plot, type Surface, pointIn } from "./plot";
import type { TableData } from "./panel";

/** Room for axes and marginals, in CSS pixels. */
export const ROOM = { left: 76, top: 58, right: 58, bottom: 8 };

/** Where cells are in a box. */
export function axesOf(width: number, height: number, zoom: Zoom): { keys: Axis; queries: Axis } {
  return {
    keys: { cell0: zoom[0], cell1: zoom[1], pixel0: ROOM.left, pixel1: Math.max(ROOM.left + 1, width - ROOM.right) },
    queries: { cell0: zoom[2], cell1: zoom[3], pixel0: ROOM.top, pixel1: Math.max(ROOM.top + 1, height - ROOM.bottom) },
  };
}

function zoomNow(trace: Trace): Zoom {
  return view.peek().zoom ?? whole(trace.seen.peek());
}

/** Shows a part of the triangle; all of it is told by no zoom at all, so that a run in progress stays whole. */
function zoomTo(zoom: Zoom, trace: Trace): void {
  const seen = trace.seen.peek();
  const isWhole = zoom[1] - zoom[0] >= seen && zoom[3] - zoom[2] >= seen;
  show({ zoom: isWhole ? null : zoom });
}

export function Triangle({ trace, columns }: { trace: Trace; columns: LayerColumns }) {
  const drag = useRef<{ x: number; y: number; zoom: Zoom; moved: boolean } | undefined>(undefined);
  const size = useRef({ width: 1, height: 1 });
  const kept = useRef(new KeptPicture());
  useLayoutEffect(() => offer(zoomCommands(trace)), [trace]);
  // A token that is pinned from elsewhere is brought into view.
  const { token } = view.value;
  useEffect(() => {
    const { zoom } = view.peek();
    if (token === null || zoom === null) return;
    const query = Math.min(Math.max(token, zoom[2]), zoom[3] - 1);
    zoomTo(reveal(zoom, token, Math.max(token, query), trace.seen.peek()), trace);
  }, [token, trace]);

  const draw = (surface: Surface) => {
    void trace.version.value;
    size.current = surface;
    const seen = trace.seen.value;
    const axes = axesOf(surface.width, surface.height, view.value.zoom ?? whole(seen));
    drawCells(surface, columns, axes, view.value.head, seen, kept.current);
    drawFrame(surface, trace, columns, axes);
  };
  const cellAt = (event: MouseEvent) => {
    const { x, y } = pointIn(event);
    const { keys, queries } = axesOf(size.current.width, size.current.height, zoomNow(trace));
    return { key: cellFromPixel(keys, x), query: cellFromPixel(queries, y) };
  };
  const onPointerMove = (event: PointerEvent) => {
    const held = drag.current;
    if (held) {
      const { keys, queries } = axesOf(size.current.width, size.current.height, held.zoom);
      const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
      held.moved ||= Math.abs(dx) + Math.abs(dy) > 3;
      if (held.moved) zoomTo(pan(held.zoom, -dx / pitchOf(keys), -dy / pitchOf(queries), trace.seen.peek()), trace);
      return;
    }
    const { key, query } = cellAt(event);
    const seen = trace.seen.peek();
    const inside = (cell: number) => (cell >= 0 && cell < seen ? Math.floor(cell) : null);
    batch(() => {
      hover.token.value = inside(key);
      hover.query.value = inside(query);
    });
  };
  const onWheel = (event: WheelEvent) => {
    event.preventDefault();
    const { key, query } = cellAt(event);
    const zoom = zoomNow(trace);
    const seen = trace.seen.peek();
    if (event.shiftKey) {
      const cells = (event.deltaX + event.deltaY) / 600;
      zoomTo(pan(zoom, cells * (zoom[1] - zoom[0]), 0, seen), trace);
    } else {
      zoomTo(zoomAbout(zoom, key, query, Math.exp(event.deltaY / 400), seen), trace);
    }
  };
  const { layer, head, map } = view.value;
  return (
    <Plot
      class="triangle"
      label={`Heatmap of ${map} in layer ${layer}, head ${head}: keys to the right, queries down. The table lists every token's life.`}
      draw={draw}
      onPointerMove={onPointerMove}
      onPointerLeave={() => {
        if (!drag.current) clearHover();
      }}
      onPointerDown={(event) => {
        (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
        drag.current = { x: event.clientX, y: event.clientY, zoom: zoomNow(trace), moved: false };
      }}
      onPointerUp={(event) => {
        const moved = drag.current?.moved;
        drag.current = undefined;
        if (moved) return;
        const key = Math.floor(cellAt(event).key);
        if (key >= 0 && key < trace.seen.peek()) show({ token: key === view.peek().token ? null : key });
      }}
      onPointerCancel={() => {
        drag.current = undefined;
        clearHover();
      }}
      onDblClick={() => show({ zoom: null })}
      onWheel={onWheel}
    />
  );
}

function drawCells({ context, ratio }: Surface, columns: LayerColumns, axes: { keys: Axis; queries: Axis }, head: number, seen: number, kept: KeptPicture): void {
  const { keys, queries } = axes;
  const width = Math.round((keys.pixel1 - keys.pixel0) * ratio);
  const height = Math.round((queries.pixel1 - queries.pixel0) * ratio);
  const look = { kind: view.value.map, longest: longestHalfLife(seen), colours: cellColours.value, ramp: ramp.value };
  const cells = { x0: keys.cell0, x1: keys.cell1, y0: queries.cell0, y1: queries.cell1 };
  const parts = [painter(), columns, columns.version, head, ...Object.values(cells), ...Object.values(look)];
  const picture = kept.of(parts, width, height, () => painter().paint(width, height, [{ columns, head, x: 0, y: 0, width, height, cells }], look));
  context.drawImage(picture, 0, 0, width, height, keys.pixel0, queries.pixel0, width / ratio, height / ratio);
}

/** Zooming and panning by keyboard, about the marked token or the middle. */
function zoomCommands(trace: Trace) {
  const zoomBy = (factor: number) => () => {
    const zoom = zoomNow(trace);
    const key = view.peek().token ?? (zoom[0] + zoom[1]) / 2;
    const about = (cell: number, from: number, to: number) => Math.min(Math.max(cell, from), to);
    zoomTo(zoomAbout(zoom, about(key, zoom[0], zoom[1]), about(Math.max(key, (zoom[2] + zoom[3]) / 2), zoom[2], zoom[3]), factor, trace.seen.peek()), trace);
  };
  const panBy = (share: number) => () => {
    const zoom = zoomNow(trace);
    const cells = share * (zoom[1] - zoom[0]);
    zoomTo(pan(zoom, cells, cells, trace.seen.peek()), trace);
  };
  return [
    { id: "zoom-in", title: "Zoom in", group: "Zoom", keys: ["w", "+"], run: zoomBy(0.7) },
    { id: "zoom-out", title: "Zoom out", group: "Zoom", keys: ["s", "-"], run: zoomBy(1 / 0.7) },
    { id: "pan-left", title: "Towards the start", group: "Zoom", keys: ["a"], run: panBy(-0.2) },
    { id: "pan-right", title: "Towards the end", group: "Zoom", keys: ["d"], run: panBy(0.2) },
    { id: "fit", title: "The whole run", group: "Zoom", keys: ["f"], run: () => show({ zoom: null }) },
  ] as const;
}

/** Every token's life in the chosen head. */
export function triangleTable(trace: Trace): TableData {
  const { layer, head } = view.value;
  const columns = here(trace.layer(layer));
  const texts = here(trace.tokens)?.text;
  const rows: (string | number)[][] = [];
  const most = 2000;
  for (let position = 0; columns && position < Math.min(columns.seen, most); position++) {
    const at = columns.at(head, position);
    const gone = columns.evictedAt[at];
    const logBeta = columns.logBeta[at];
    rows.push([
      position,
      JSON.stringify(texts?.[position] ?? ""),
      Number.isNaN(logBeta) ? "–" : Number(logBeta.toPrecision(4)),
      logBeta === 0 ? "∞" : Number.isNaN(logBeta) ? "–" : Number((Math.LN2 / -logBeta).toPrecision(4)),
      gone > columns.seen ? "still cached" : gone,
    ]);
  }
  return {
    caption: `Tokens of layer ${layer}, head ${head}`,
    columns: ["position", "text", "log beta", "half-life", "evicted at"],
    rows,
    total: columns?.seen ?? 0,
  };
}
