// How many entries each head of a layer holds as tokens are seen.
import { extent } from "d3-array";
import { scaleLinear } from "d3-scale";
import { useMemo } from "preact/hooks";
import { cssRgb } from "../base/colour";
import { count, plural } from "../base/format";
import { budgetOf } from "../data/budget";
import type { LayerColumns } from "../data/columns";
import { here, type Trace } from "../data/trace";
import { cellColours, inks } from "../state/theme";
import { hover, show, view } from "../state/view";
import { cutsOfHead } from "./life_line_cuts";
import { aliveByQuery, rangeByPixel } from "./occupancy";
import { Failed, Panel, type TableData, Waiting } from "./panel";
import { Plot, type Surface, pointIn } from "./plot";
import { BOTTOM, LEFT, RIGHT, TOP, axes, marker } from "./time_axes";

/** Rows of the table. */
const TABLE_ROWS = 1000;

export function OccupancyPanel({ trace }: { trace: Trace }) {
  const { layer, head } = view.value;
  const lives = trace.layer(layer);
  void trace.version.value;
  const alive = useMemo(() => counting(), [lives]);
  const columns = here(lives);
  const draw = (surface: Surface) => {
    const { layer, head } = view.value;
    const columns = here(trace.layer(layer));
    void trace.version.value;
    if (columns && columns.seen > 0) drawOccupancy(surface, trace, alive(columns), head);
  };
  const queryAt = (event: MouseEvent): number | null => {
    const { width } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const seen = trace.seen.peek();
    const query = Math.ceil(((pointIn(event).x - LEFT) / (width - LEFT - RIGHT)) * seen) - 1;
    return query < 0 || query >= seen ? null : query;
  };
  const state = lives.value;
  return (
    <Panel
      title={`Occupancy of layer ${layer}, head ${head}`}
      hint={`Entries a query can see, itself included; thin: the layer's other heads. ${trace.seen.value > 1500 ? "Band: least and most of a pixel." : ""}`}
      class="occupancy"
      tools={<HeadChoice trace={trace} />}
      table={columns && (() => occupancyTable(columns))}
    >
      {state.state === "failed" ? (
        <Failed why={state.why} />
      ) : state.state === "waiting" ? (
        <Waiting what={`layer ${layer}`} />
      ) : (
        <Plot
          label={`Entries cached by head ${head} of layer ${layer} over ${plural(trace.seen.value, "token")}, with the layer's other heads and the budget`}
          draw={draw}
          onPointerMove={(event) => (hover.query.value = queryAt(event))}
          onPointerLeave={() => (hover.query.value = null)}
          onClick={(event) => {
            const query = queryAt(event);
            if (query !== null) show({ now: query === trace.seen.peek() - 1 ? null : query });
          }}
        />
      )}
      {columns && <OccupancyNote trace={trace} columns={columns} counts={alive} />}
    </Panel>
  );
}

/** One line on the query under the pointer, else on now. It has its own room, so nothing moves. */
function OccupancyNote({ trace, columns, counts }: { trace: Trace; columns: LayerColumns; counts: ReturnType<typeof counting> }) {
  const { head, now } = view.value;
  // Columns change in place while a run goes on.
  void trace.version.value;
  const query = Math.min(columns.seen - 1, hover.query.value ?? now ?? columns.seen - 1);
  if (query < 0) return <p class="plot-note">nothing read yet</p>;
  const alive = counts(columns);
  const others = alive.filter((_, index) => index !== head).map((of) => of[query]);
  const [least, most] = extent(others);
  const limits = budgetOf(trace.facts.manifest.policy);
  return (
    <p class="plot-note">
      <b>query {count(query)}</b> sees {plural(alive[head][query], "entry", "entries")} of {count(query + 1)} in head {head}
      {others.length > 0 && `; ${least === most ? count(least ?? 0) : `${count(least ?? 0)} to ${count(most ?? 0)}`} in the layer's others`}
      {limits ? `; budget ${count(limits.budget)}${limits.isOnAverage ? " on average" : ""}` : "; no budget"}
    </p>
  );
}

function HeadChoice({ trace }: { trace: Trace }) {
  const { layer, head } = view.value;
  const numbers = (amount: number) => Array.from({ length: amount }, (_, index) => <option value={String(index)}>{index}</option>);
  return (
    <>
      <label class="field">
        layer
        <select value={String(layer)} onChange={(event) => show({ layer: Number(event.currentTarget.value) })}>
          {numbers(trace.layers)}
        </select>
      </label>
      <label class="field">
        head
        <select value={String(head)} onChange={(event) => show({ head: Number(event.currentTarget.value) })}>
          {numbers(trace.kvHeads)}
        </select>
      </label>
    </>
  );
}

/** Counts a layer's heads once for as long as its lives do not change. */
function counting() {
  let known: { columns: LayerColumns; version: number; alive: Uint32Array[] } | undefined;
  return (columns: LayerColumns): Uint32Array[] => {
    if (known?.columns !== columns || known.version !== columns.version) {
      const alive = Array.from({ length: columns.heads }, (_, head) => aliveByQuery(columns, head));
      known = { columns, version: columns.version, alive };
    }
    return known.alive;
  };
}

function drawOccupancy({ context, width, height, ratio }: Surface, trace: Trace, alive: readonly Uint32Array[], head: number): void {
  const ink = inks.value;
  const seen = alive[0].length;
  const limits = budgetOf(trace.facts.manifest.policy);
  const most = alive.reduce((top, of) => of.reduce((a, b) => Math.max(a, b), top), limits?.limit ?? 1);
  const x = scaleLinear([0, seen], [LEFT, width - RIGHT]);
  const y = scaleLinear([0, most * 1.04], [height - BOTTOM, TOP]);
  axes(context, x, y, width, height);
  const pixels = Math.max(1, Math.round((width - LEFT - RIGHT) * ratio));
  const toX = (pixel: number) => LEFT + (pixel + 0.5) / ratio;
  const stroke = (values: Float64Array) => {
    context.beginPath();
    values.forEach((value, pixel) => context.lineTo(toX(pixel), y(value)));
    context.stroke();
  };
  context.lineWidth = 1;
  context.strokeStyle = ink.muted;
  context.globalAlpha = 0.55;
  alive.forEach((of, index) => {
    if (index !== head) stroke(rangeByPixel(of, pixels).most);
  });
  context.globalAlpha = 1;
  const { least, most: highest } = rangeByPixel(alive[head], pixels);
  context.fillStyle = cssRgb(cellColours.value.alive, 0.22);
  context.beginPath();
  highest.forEach((value, pixel) => context.lineTo(toX(pixel), y(value)));
  for (let pixel = pixels - 1; pixel >= 0; pixel--) context.lineTo(toX(pixel), y(least[pixel]));
  context.fill();
  context.strokeStyle = cssRgb(cellColours.value.alive);
  context.lineWidth = 1.75;
  stroke(highest);
  // Told over the picture, as anywhere inside it the words would cover what is counted.
  let told = LEFT;
  const level = (value: number, text: string, dash: number[]) => {
    context.strokeStyle = ink.alert;
    context.lineWidth = 1;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(LEFT, y(value));
    context.lineTo(width - RIGHT, y(value));
    context.moveTo(told, TOP / 2 + 0.5);
    context.lineTo(told + 20, TOP / 2 + 0.5);
    context.stroke();
    context.setLineDash([]);
    context.font = "11px 'IBM Plex Sans', sans-serif";
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillStyle = ink.alert;
    context.fillText(text, told + 25, TOP / 2 + 1);
    told += 41 + context.measureText(text).width;
  };
  if (limits) {
    level(limits.budget, `budget ${count(limits.budget)}${limits.isOnAverage ? " on average" : ""}`, [6, 3]);
    const when = width > 560 ? "cut at budget + buffer" : "cut at";
    if (limits.buffer > 0) level(limits.limit, `${when} ${count(limits.limit)}, or at the end of a chunk`, [2, 3]);
  }
  cutTicks(context, trace, head, x, height - BOTTOM, ink.alert);
  marker(context, x(Math.min(seen, (view.value.now ?? seen - 1) + 1)), TOP, height - BOTTOM, ink.accent, 1.5);
  if (hover.query.value !== null) marker(context, x(Math.min(seen, hover.query.value + 1)), TOP, height - BOTTOM, ink.ink, 0.75);
}

/** Cuts of the chosen head, on the axis; as many as can be told apart. */
function cutTicks(context: CanvasRenderingContext2D, trace: Trace, head: number, x: (tokens: number) => number, ground: number, colour: string): void {
  const cuts = here(trace.cuts(view.value.layer));
  if (!cuts) return;
  context.fillStyle = colour;
  let last = -Infinity;
  for (const tokens of cutsOfHead(cuts, head).tokensSeen) {
    if (x(tokens) - last < 0.5) continue;
    context.fillRect(x(tokens) - 0.5, ground - 5, 1, 5);
    last = x(tokens);
  }
}

function occupancyTable(columns: LayerColumns): TableData {
  const every = Math.max(1, Math.ceil(columns.seen / TABLE_ROWS));
  const alive = Array.from({ length: columns.heads }, (_, head) => aliveByQuery(columns, head));
  const rows: number[][] = [];
  for (let query = 0; query < columns.seen; query += every) rows.push([query, ...alive.map((of) => of[query])]);
  return {
    caption: `Entries visible to ${every === 1 ? "each" : `every ${count(every)}th`} query in layer ${columns.layer}`,
    columns: ["query", ...alive.map((_, head) => `head ${head}`)],
    rows,
  };
}
