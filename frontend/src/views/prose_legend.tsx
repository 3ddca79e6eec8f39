// How to read the prose: what ink and bar mean under the chosen colouring.
import { longestHalfLife } from "../base/cells";
import { cssRgb, rampAt } from "../base/colour";
import { count } from "../base/format";
import { keepersOf } from "../data/keepers_reader";
import type { Trace } from "../data/trace";
import { ramp } from "../state/theme";
import { type ProseColour, view } from "../state/view";
import type { InkState } from "./prose_ink";
import { Plot, type Surface } from "./plot";

/** A sample of a token in an ink. */
function Sample({ ink, children }: { ink: InkState; children: string }) {
  return <span class="sample" data-ink={ink}>{children}</span>;
}

export function ProseLegend({ trace }: { trace: Trace }) {
  const { prose, layer, head } = view.value;
  const seen = trace.seen.value;
  const now = Math.min(view.value.now ?? seen - 1, seen - 1);
  const place = `layer ${layer} head ${head}`;
  const isOver = now >= seen - 1;
  return (
    <div class="legend prose-legend" aria-label="Legend">
      {prose === "alive" && (
        <>
          <Sample ink="kept">kept</Sample>
          <Sample ink="left">evicted</Sample>
          {!isOver && <Sample ink="unborn">not born</Sample>}
          <span>in {place} at query {count(now)}{isOver ? ", the last" : ""}</span>
        </>
      )}
      {prose === "half-life" && (
        <>
          <Bars from="1" to={`${count(longestHalfLife(seen))} tokens`} label="half-life, logarithmic" />
          {!trace.hasGates && <Sample ink="unknown">no gates: not known</Sample>}
          <span>in {place}</span>
        </>
      )}
      {prose === "evicted-at" && (
        <>
          <Bars from="0" to={count(seen)} label="left at" />
          <Sample ink="kept">still cached</Sample>
          <span>in {place}</span>
        </>
      )}
      {prose === "keepers" && <KeepersLegend trace={trace} now={now} isOver={isOver} />}
    </div>
  );
}

function KeepersLegend({ trace, now, isOver }: { trace: Trace; now: number; isOver: boolean }) {
  const { counted, why, seen } = keepersOf(trace, true).value;
  return (
    <>
      <Sample ink="left">no head</Sample>
      <Bars from="1" to={`${count(counted * trace.kvHeads)} heads`} label="kept by" />
      <Sample ink="kept">every head</Sample>
      {!isOver && <Sample ink="unborn">not born</Sample>}
      <span role="status">
        at query {count(now)}; {counted === trace.layers ? `all ${trace.layers} layers counted` : `${counted} of ${trace.layers} layers counted so far`}
        {seen < trace.seen.value && `, as of ${count(seen)} tokens`}
      </span>
      {why && <span class="failed">{why}</span>}
    </>
  );
}

/** The bars from the shortest to the longest. */
function Bars({ from, to, label }: { from: string; to: string; label: string }) {
  const draw = ({ context, width, height }: Surface) => {
    const table = ramp.value;
    for (let x = 0; x < width; x++) {
      context.fillStyle = cssRgb(rampAt(table, x / width));
      const high = 2 + (5 * x) / width;
      context.fillRect(x, height - high, 1, high);
    }
  };
  return (
    <span class="ramp">
      <span>
        {label} {from}
      </span>
      <Plot class="ramp-bar" height={10} label={`Scale of the bars: ${label} from ${from} to ${to}, longer is higher`} draw={draw} />
      <span>{to}</span>
    </span>
  );
}

export const PROSE_TITLES: Record<ProseColour, string> = { alive: "Alive", "half-life": "Half-life", "evicted-at": "When it left", keepers: "Keepers" };
