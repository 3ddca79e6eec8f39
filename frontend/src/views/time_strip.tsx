// The strip under every screen: what is cached and what is thrown out over the run, and "now", which can be moved and played.
import { useComputed } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { count, percent, plural } from "../base/format";
import type { LayerColumns } from "../data/columns";
import type { Trace } from "../data/trace";
import { offer } from "../state/commands";
import { hover, show, view } from "../state/view";
import { cachedAfter, rowAt, seriesOfLayers, seriesOfSteps } from "./occupancy";
import { DataTable, type TableData } from "./panel";
import { Player, SPEEDS } from "./play";
import { Plot, type Surface } from "./plot";
import { type Counted, EDGE, drawStrip, spreading } from "./time_strip_drawing";

/** Rows of the strip's table. */
const TABLE_ROWS = 2000;
export function TimeStrip({ trace }: { trace: Trace }) {
  const player = useMemo(() => new Player(trace), [trace]);
  const tableBox = useRef<HTMLDialogElement>(null);
  const [isTable, setTable] = useState(false);
  useEffect(() => () => player.stop(), [player]);
  useLayoutEffect(() => offerTime(trace, player), [trace, player]);
  const counted = useComputed(() => countedOf(trace));
  const seen = trace.seen.value;
  const spread = useMemo(() => spreading(), [trace]);
  const draw = (surface: Surface) => drawStrip(surface, trace, counted.value, spread);
  const words = nowWords(trace, counted.value);
  return (
    <footer class="strip" aria-label="Time">
      <div class="strip-play">
        <button class="icon" aria-label={player.isPlaying.value ? "Pause" : "Play"} title="Play or pause (Space)" disabled={seen < 2} onClick={() => player.toggle()}>
          {player.isPlaying.value ? "❚❚" : "▶"}
        </button>
        <select
          aria-label="Speed"
          value={String(player.speed)}
          onChange={(event) => (player.chosenSpeed.value = Number(event.currentTarget.value))}
        >
          {SPEEDS.map((speed) => (
            <option value={String(speed)}>{count(speed)} tokens/s</option>
          ))}
        </select>
        <button class="quiet" onClick={() => {
            setTable(true);
            tableBox.current?.showModal();
          }}>
          table
        </button>
      </div>
      <p class="strip-now">
        <b>{words.where}</b>
        <span>{words.cached}</span>
      </p>
      <Plot class="strip-plot" label={`Entries cached and evicted over the run; ${words.hint}`} draw={draw}>
        <Scrubber trace={trace} words={`${words.where}, ${words.cached}`} hint={words.hint} />
      </Plot>
      <dialog class="strip-table" data-own-keys ref={tableBox} aria-label="The run's passes as a table" onClose={() => setTable(false)}>
        <header>
          <h2>Passes</h2>
          <button class="icon quiet" aria-label="Close" onClick={() => tableBox.current?.close()}>
            ✕
          </button>
        </header>
        {isTable && <StripTable trace={trace} counted={counted.value} />}
      </dialog>
    </footer>
  );
}

function Scrubber({ trace, words, hint }: { trace: Trace; words: string; hint: string }) {
  const last = Math.max(0, trace.seen.value - 1);
  const within = (at: number | null) => Math.min(last, at ?? last);
  const now = within(view.value.now);
  const move = (to: number) => {
    const end = trace.seen.peek() - 1;
    const at = Math.min(end, Math.max(0, Math.round(to)));
    show({ now: at >= end ? null : at });
  };
  const at = (event: PointerEvent) => {
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    return Math.ceil(((event.clientX - box.left - EDGE) / (box.width - 2 * EDGE)) * trace.seen.peek()) - 1;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.round(trace.seen.peek() / 20));
    const far = event.shiftKey ? 10 : 1;
    const steps: Record<string, number> = { ArrowRight: far, ArrowUp: far, ArrowLeft: -far, ArrowDown: -far, PageUp: page, PageDown: -page, Home: -Infinity, End: Infinity };
    const by = steps[event.key];
    if (by === undefined) return;
    event.preventDefault();
    // Keys may come faster than this is drawn, so the step is from where the view is.
    move(within(view.peek().now) + by);
  };
  return (
    <div
      class="scrubber"
      role="slider"
      tabIndex={0}
      aria-label="Now"
      aria-valuemin={0}
      aria-valuemax={last}
      aria-valuenow={now}
      aria-valuetext={words}
      title={hint}
      onKeyDown={onKeyDown}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        move(at(event));
      }}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId)) move(at(event));
        else hover.query.value = Math.min(last, Math.max(0, at(event)));
      }}
      onPointerLeave={() => (hover.query.value = null)}
    />
  );
}

function offerTime(trace: Trace, player: Player): () => void {
  // A button or a link that has the focus takes the space bar itself.
  const isFree = () => document.activeElement?.closest("button, a, summary, dialog, [role=button]") == null;
  return offer([
    { id: "play", title: "Play the run, or pause", group: "Time", keys: [" "], run: () => player.toggle(), enabled: () => isFree() && trace.seen.peek() > 1 },
    { id: "to-start", title: "To the start of the run", group: "Time", keys: ["Home"], run: () => show({ now: 0 }) },
    { id: "time-screen", title: "Show occupancy and why tokens were evicted", group: "Time", keys: [], run: () => show({ screen: "time" }) },
  ]);
}

/** The run's passes where they are recorded, else what the layers that are here tell. */
function countedOf(trace: Trace): Counted | "waiting" {
  const { value } = trace.steps;
  if (value.state === "waiting") return "waiting";
  const all = trace.layers * trace.kvHeads;
  if (value.state === "here" && value.value.count > 0) return { series: seriesOfSteps(value.value, all), note: undefined };
  if (trace.facts.manifest.status === "running" && trace.seen.value === 0) return "waiting";
  void trace.version.value;
  // A short run is counted over all heads; of a long one, the chosen layer and what else is here.
  if (trace.overviewPool === 1) for (let layer = 0; layer < trace.layers; layer++) void trace.layer(layer).value;
  const chosen = trace.layer(view.value.layer).value;
  if (chosen.state === "waiting") return "waiting";
  const layers: LayerColumns[] = [...trace.present()];
  const series = seriesOfLayers(layers);
  const which = series.heads === all ? "counted from the tokens' lives" : `counted over ${plural(series.heads, "head")} of ${count(all)}`;
  return { series, note: layers.length === 0 ? "no passes are recorded, and no lives are here to count from" : `no passes are recorded; ${which}` };
}

function nowWords(trace: Trace, counted: Counted | "waiting"): { where: string; cached: string; hint: string } {
  const seen = trace.seen.value;
  const tokens = Math.min(seen, (view.value.now ?? seen - 1) + 1);
  const where = seen === 0 ? "nothing read yet" : `after ${count(tokens)} of ${plural(seen, "token")}`;
  if (counted === "waiting") return { where, cached: "counting …", hint: "reading" };
  const { series, note } = counted;
  if (series.heads === 0 || series.count === 0) return { where, cached: "not recorded", hint: note ?? "nothing recorded" };
  const cached = cachedAfter(series, tokens);
  const share = cached / Math.max(1, tokens * series.heads);
  return {
    where,
    cached: `${count(cached)} ${cached === 1 ? "entry" : "entries"} cached, ${percent(share)} of all`,
    hint: `${note ? `${note}. ` : ""}Area: entries cached over ${plural(series.heads, "head")}, the most of a pixel; line: with nothing evicted; bars: entries evicted, the sum of a pixel. Drag, or use the arrow keys.`,
  };
}

function StripTable({ trace, counted }: { trace: Trace; counted: Counted | "waiting" }) {
  if (counted === "waiting" || counted.series.count === 0) return <p class="waiting">No passes are recorded.</p>;
  const { series } = counted;
  const from = Math.max(0, rowAt(series, trace.promptTokens) - TABLE_ROWS / 2);
  const rows: number[][] = [];
  for (let row = from; row < Math.min(series.count, from + TABLE_ROWS); row++) {
    rows.push([series.tokensSeen[row], series.cached[row], series.evicted[row], series.tokensSeen[row] * series.heads]);
  }
  const data: TableData = {
    caption: `Passes ${count(from + 1)} to ${count(from + rows.length)} of ${count(series.count)}, over ${plural(series.heads, "head")}`,
    columns: ["tokens seen", "entries cached", "evicted", "with nothing evicted"],
    rows,
  };
  return <DataTable data={data} />;
}
