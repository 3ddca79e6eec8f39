// Who keeps a token: a square per layer and head, full where it is kept, hollow where it was evicted.
import type { KeepersState } from "../data/keepers_reader";
import type { Trace } from "../data/trace";
import { STILL_CACHED } from "../base/cells";
import { count } from "../base/format";
import { cellColours, inks } from "../state/theme";
import { cssRgb } from "../base/colour";
import { hover, hoverHead, show, view } from "../state/view";
import type { Holding } from "../data/keepers";
import { Panel, type TableData } from "./panel";
import { Plot, type Surface, pointIn } from "./plot";

const LEFT = 22;
const TOP = 29;
/** Width that the card has for the squares. */
const WIDTH = 316;

interface TokenGridProps {
  trace: Trace;
  position: number;
  now: number;
  state: KeepersState;
}

const WORDS: Record<Holding, string> = { kept: "kept", evicted: "evicted", unborn: "not born", unknown: "being read" };

export function TokenGrid({ trace, position, now, state }: TokenGridProps) {
  const { layers, kvHeads } = trace;
  const pitch = Math.max(3, Math.min(20, Math.floor((WIDTH - LEFT) / layers)));
  const { keepers, counted, seen } = state;
  const draw = ({ context }: Surface) => {
    void trace.version.value;
    const ink = inks.value;
    const alive = cssRgb(cellColours.value.alive);
    const side = pitch > 5 ? pitch - 2 : pitch - 1;
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < kvHeads; head++) {
        const [x, y] = [LEFT + layer * pitch, TOP + head * pitch];
        square(context, keepers.holding(layer, head, position, now), x, y, side, alive, ink.muted);
      }
    }
    const { layer, head } = view.value;
    context.lineWidth = 2;
    context.strokeStyle = ink.accent;
    context.strokeRect(LEFT + layer * pitch - 1, TOP + head * pitch - 1, side + 2, side + 2);
    const [over, under] = [hover.layer.value, hover.head.value];
    if (over !== null && under !== null) {
      context.lineWidth = 1;
      context.strokeStyle = ink.ink;
      context.strokeRect(LEFT + over * pitch - 1.5, TOP + under * pitch - 1.5, side + 3, side + 3);
    }
    axes(context, layers, kvHeads, pitch, ink.muted);
  };
  const at = (event: MouseEvent) => {
    const { x, y } = pointIn(event);
    const [layer, head] = [Math.floor((x - LEFT) / pitch), Math.floor((y - TOP) / pitch)];
    return layer >= 0 && layer < layers && head >= 0 && head < kvHeads ? { layer, head } : undefined;
  };
  const kept = keepers.count(position, now);
  const table = (): TableData => ({
    caption: `Heads and token ${position} at query ${now}`,
    columns: ["layer", "head", "state", "evicted at"],
    rows: Array.from({ length: layers * kvHeads }, (_, index) => {
      const [layer, head] = [Math.floor(index / kvHeads), index % kvHeads];
      const evictedAt = keepers.evictedAt(layer, head, position);
      const left = evictedAt === undefined ? "–" : evictedAt === STILL_CACHED ? "still cached" : evictedAt;
      return [layer, head, WORDS[keepers.holding(layer, head, position, now)], left];
    }),
  });
  const over = hover.layer.value;
  const layer = over ?? view.value.layer;
  const head = hover.head.value ?? view.value.head;
  return (
    <Panel title={counted === layers ? `Kept by ${count(kept)} of ${count(layers * kvHeads)} heads` : `Kept by ${count(kept)} so far`} class="token-grid" table={table}>
      <Plot
        height={TOP + kvHeads * pitch + 3}
        label={`Heads that keep token ${position} at query ${now}: ${kept} of ${counted * kvHeads}; layers to the right, heads down. A click chooses a head.`}
        draw={draw}
        onPointerMove={(event) => hoverHead(at(event))}
        onPointerLeave={() => hoverHead(undefined)}
        onClick={(event) => {
          const found = at(event);
          if (found) show(found);
        }}
      />
      <p class="grid-says">
        {`layer ${layer} head ${head}: ${inWords(state, layer, head, position, now)}`}
      </p>
      <p class="grid-key">
        <span class="state"><i data-holding="kept" />kept</span>
        <span class="state"><i data-holding="evicted" />evicted</span>
        <span class="state"><i data-holding="unborn" />not born</span>
        {counted < layers && <span role="status">{counted} of {layers} layers read</span>}
        {seen < trace.seen.value && <span>as of {count(seen)} tokens</span>}
      </p>
    </Panel>
  );
}

function inWords({ keepers }: KeepersState, layer: number, head: number, position: number, now: number): string {
  const evictedAt = keepers.evictedAt(layer, head, position);
  const holding = WORDS[keepers.holding(layer, head, position, now)];
  if (evictedAt === undefined) return holding;
  return `${holding}, ${evictedAt === STILL_CACHED ? "never evicted" : `left at ${count(evictedAt)}`}`;
}

function square(context: CanvasRenderingContext2D, holding: Holding, x: number, y: number, side: number, full: string, line: string): void {
  if (holding === "kept") {
    context.fillStyle = full;
    context.fillRect(x, y, side, side);
  } else if (holding === "evicted") {
    context.strokeStyle = line;
    context.lineWidth = 1;
    context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
  } else {
    // A dot for what is not born, nothing for what is being read.
    if (holding === "unknown") return;
    context.fillStyle = line;
    context.fillRect(x + side / 2 - 1, y + side / 2 - 1, 2, 2);
  }
}

function axes(context: CanvasRenderingContext2D, layers: number, heads: number, pitch: number, colour: string): void {
  context.fillStyle = colour;
  context.textBaseline = "middle";
  context.font = "11px 'IBM Plex Sans', sans-serif";
  context.textAlign = "left";
  context.fillText("head ↓", 0, 7);
  context.fillText("layer →", LEFT + 24, 7);
  context.font = "9px 'IBM Plex Mono', monospace";
  context.textBaseline = "middle";
  context.textAlign = "center";
  const acrossEvery = Math.max(1, Math.ceil(20 / pitch));
  for (let layer = 0; layer < layers; layer += acrossEvery) context.fillText(String(layer), LEFT + (layer + 0.5) * pitch, TOP - 7);
  context.textAlign = "right";
  const downEvery = Math.max(1, Math.ceil(11 / pitch));
  for (let head = 0; head < heads; head += downEvery) context.fillText(String(head), LEFT - 5, TOP + (head + 0.5) * pitch);
}
