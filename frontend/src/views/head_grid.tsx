// Every head as a live thumbnail, in one canvas.
import { useComputed } from "@preact/signals";
import { useRef } from "preact/hooks";
import { longestHalfLife } from "../base/cells";
import { number } from "../base/format";
import { evidenceWords, scoreWords } from "../base/score_words";
import { type Trace, here } from "../data/trace";
import { KeptPicture } from "../paint/kept";
import { painter, type Panel as CellPanel } from "../paint/painter";
import { type HeadAt, inOrder, scoreOf } from "../state/finder";
import { cellColours, inks, ramp, roleColour } from "../state/theme";
import { hover, hoverHead, show, view } from "../state/view";
import { type GridLayout, layOut, rectOf, slotAt } from "./grid_layout";
import { Plot, type Surface, pointIn } from "./plot";

interface HeadGridProps {
  trace: Trace;
  /** Whether a head is meant; the others are pale, and layers without any are left out. */
  test: (head: HeadAt) => boolean;
  /** Called when a head is chosen twice. */
  onOpen?: () => void;
  /** Smallest side of a thumbnail in CSS pixels; below it the grid scrolls. */
  smallest?: number;
  /** Without the line on the chosen head. */
  compact?: boolean;
}

export function HeadGrid({ trace, test, onOpen, smallest = 26, compact = false }: HeadGridProps) {
  const layout = useRef<GridLayout>(undefined);
  const kept = useRef(new KeptPicture());
  const order = useComputed(() => {
    const scores = here(trace.heads);
    const all: HeadAt[] = Array.from({ length: trace.layers * trace.kvHeads }, (_, index) => ({
      layer: Math.floor(index / trace.kvHeads),
      head: index % trace.kvHeads,
      scores: scores?.[index],
    }));
    return inOrder(all, view.value.sort);
  });
  const draw = (surface: Surface) => {
    const { sort } = view.value;
    const heads = order.value.filter((head) => sort === "place" || test(head));
    const layers = new Set(heads.filter(test).map((head) => head.layer));
    // Layers without a hit are left out, but for a search that nobody meets.
    const shown = sort === "place" && layers.size > 0 ? heads.filter((head) => layers.has(head.layer)) : heads;
    layout.current = layOut(surface.width, surface.height, shown, sort === "place" ? trace.kvHeads : undefined, smallest);
    drawGrid(surface, trace, layout.current, test, sort, kept.current);
  };
  const at = (event: MouseEvent) => {
    const { x, y } = pointIn(event);
    return layout.current && slotAt(layout.current, x, y);
  };
  const { layer, head } = view.value;
  return (
    <div class="grid-scroll">
      <Plot
        class="grid"
        label={`Thumbnails of ${trace.layers} layers x ${trace.kvHeads} KV heads; chosen: layer ${layer}, head ${head}. Arrow keys choose another.`}
        draw={draw}
        onPointerMove={(event) => hoverHead(at(event))}
        onPointerLeave={() => hoverHead(undefined)}
        onClick={(event) => {
          const found = at(event);
          if (!found) return;
          const again = found.layer === view.peek().layer && found.head === view.peek().head;
          show({ layer: found.layer, head: found.head, zoom: null });
          if (again) onOpen?.();
        }}
      />
      {!compact && <GridNote trace={trace} />}
    </div>
  );
}

/** One line on the head under the pointer, else the chosen one. It has its own room, so nothing moves. */
function GridNote({ trace }: { trace: Trace }) {
  const layer = hover.layer.value ?? view.value.layer;
  const head = hover.head.value ?? view.value.head;
  const scores = here(trace.heads)?.[layer * trace.kvHeads + head];
  return (
    <p class="grid-note">
      <b>
        layer {layer} head {head}
      </b>
      {scores && (
        <>
          <span class="badge" style={{ "--role": roleColour(scores.role) }}>
            {scores.role}
          </span>
          <span class="evidence">{evidenceWords(scores.evidence)}</span>
          <span title={scoreWords("median_half_life")}>median half-life {number(scores.median_half_life)} tokens</span>
        </>
      )}
    </p>
  );
}

/** A mark for benchmarks, at its first time. */
function once(name: string): void {
  if (performance.getEntriesByName(name).length === 0) performance.mark(name);
}

function drawGrid(surface: Surface, trace: Trace, layout: GridLayout, test: (head: HeadAt) => boolean, sort: string, kept: KeptPicture): void {
  const { context, width, ratio } = surface;
  void trace.version.value;
  const seen = trace.seen.value;
  const height = layout.height;
  const panels: CellPanel[] = [];
  layout.slots.forEach(({ layer, head }, index) => {
    const columns = here(trace.overview(layer));
    if (!columns) return;
    const { x, y, size } = rectOf(layout, index);
    const side = Math.max(1, Math.round(size * ratio));
    panels.push({ columns, head, x: Math.round(x * ratio), y: Math.round(y * ratio), width: side, height: side, cells: { x0: 0, x1: seen, y0: 0, y1: seen } });
  });
  if (panels.length > 0) once("first-thumbnails");
  if (panels.length > 0 && panels.length === layout.slots.length) once("all-thumbnails");
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  const look = { kind: view.value.map, longest: longestHalfLife(seen), colours: cellColours.value, ramp: ramp.value };
  const parts = [painter(), trace.version.value, ...Object.values(look), ...panels.flatMap(({ columns, head, x, y }) => [columns, columns.version, head, x, y])];
  const picture = panels.length > 0 ? kept.of(parts, across, down, () => painter().paint(across, down, panels, look)) : undefined;
  const ink = inks.value;
  const chosen = view.value;
  context.font = "11px 'IBM Plex Sans', sans-serif";
  context.textBaseline = "middle";
  layout.slots.forEach((head, index) => {
    const { x, y, size } = rectOf(layout, index);
    const side = Math.max(1, Math.round(size * ratio));
    if (picture && here(trace.overview(head.layer))) {
      context.drawImage(picture, Math.round(x * ratio), Math.round(y * ratio), side, side, x, y, side / ratio, side / ratio);
    } else {
      context.fillStyle = ink.rule;
      context.fillRect(x, y, size, size);
    }
    const role = head.scores?.role;
    if (role) {
      context.fillStyle = roleColour(role);
      context.fillRect(x, y + size + 1, size, 3);
      if (size >= 64) badge(context, role, x, y, size, ink.paper);
    }
    if (!test(head)) {
      context.fillStyle = ink.paper;
      context.globalAlpha = 0.78;
      context.fillRect(x - 1, y - 1, size + 2, size + 6);
      context.globalAlpha = 1;
    }
    const isChosen = head.layer === chosen.layer && head.head === chosen.head;
    const isHovered = head.layer === hover.layer.value && head.head === hover.head.value;
    if (isChosen || isHovered) {
      context.lineWidth = isChosen ? 2 : 1;
      context.strokeStyle = isChosen ? ink.accent : ink.ink;
      context.strokeRect(x - 1.5, y - 1.5, size + 3, size + 7);
    }
  });
  labels(context, layout, sort, ink.muted);
}

function badge(context: CanvasRenderingContext2D, role: string, x: number, y: number, size: number, paper: string): void {
  context.font = "600 10px 'IBM Plex Sans', sans-serif";
  const width = context.measureText(role).width + 8;
  if (width > size - 4) return;
  context.fillStyle = paper;
  context.globalAlpha = 0.88;
  context.fillRect(x + size - width - 2, y + 2, width, 15);
  context.globalAlpha = 1;
  context.fillStyle = roleColour(role);
  context.textAlign = "left";
  context.fillText(role, x + size - width + 2, y + 10);
}

function labels(context: CanvasRenderingContext2D, layout: GridLayout, sort: string, colour: string): void {
  context.fillStyle = colour;
  context.font = "10px 'IBM Plex Mono', monospace";
  layout.slots.forEach((head, index) => {
    const { x, y, size, column, row } = rectOf(layout, index);
    if (sort === "place") {
      context.textAlign = "right";
      if (column === 0) context.fillText(`L${head.layer}`, x - 5, y + size / 2);
      context.textAlign = "center";
      if (row === 0 && size >= 18) context.fillText(`H${head.head}`, x + size / 2, y - 8);
    } else if (size >= 40) {
      context.textAlign = "left";
      const score = scoreOf(head, sort);
      const text = `L${head.layer}H${head.head}  ${score === undefined ? "–" : number(score)}`;
      context.fillText(text, x, y - 7, size);
    }
  });
}
