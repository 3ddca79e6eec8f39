// How to read the colours: the ramp with its numbers, the states, and what a pixel says when tokens share it.
import { type MapKind, longestHalfLife } from "../base/cells";
import { cssRgb } from "../base/colour";
import { count } from "../base/format";
import type { Trace } from "../data/trace";
import { cellColours, ramp } from "../state/theme";
import { view } from "../state/view";
import { Plot, type Surface } from "./plot";

/** What a pixel that several tokens share shows. */
const SHARED: Record<MapKind, string> = {
  retention: "the most of a pixel's tokens",
  alive: "strength: share alive of a pixel's tokens",
  "half-life": "the longest of a pixel's tokens",
};

export function MapLegend({ trace, shares }: { trace: Trace; shares?: boolean }) {
  const { map } = view.value;
  const colours = cellColours.value;
  return (
    <div class="legend" role="group" aria-label="Legend">
      {map === "alive" ? <AliveBar /> : <RampBar kind={map} trace={trace} />}
      <State name="evicted" colour={cssRgb(colours.evicted)} />
      <State name="not born" colour={cssRgb(colours.unborn)} />
      {map !== "alive" && !trace.hasGates && <State name="alive, no gates" colour={cssRgb(colours.unknown)} />}
      {shares && <span class="rule">{SHARED[map]}</span>}
    </div>
  );
}

/** Of the lanes: a bar's colour, and an empty place. `every`: rows show every so many-th place. */
export function LaneLegend({ trace, every }: { trace: Trace; every: number }) {
  const colours = cellColours.value;
  return (
    <div class="legend" role="group" aria-label="Legend">
      {trace.hasGates ? <RampBar kind="half-life" trace={trace} /> : <State name="token, no gates" colour={cssRgb(colours.unknown)} />}
      <State name="empty place" colour={cssRgb(colours.evicted, 0.5)} />
      {every > 1 && <span class="rule">every {count(every)}th place is drawn, and the marked token's</span>}
    </div>
  );
}

function RampBar({ kind, trace }: { kind: "retention" | "half-life"; trace: Trace }) {
  const longest = longestHalfLife(trace.seen.value);
  const draw = ({ context, width, height }: Surface) => {
    const table = ramp.value;
    for (let x = 0; x < width; x++) {
      const step = Math.min(255, Math.floor((256 * x) / width)) * 3;
      context.fillStyle = cssRgb([table[step], table[step + 1], table[step + 2]]);
      context.fillRect(x, 0, 1, height);
    }
  };
  return (
    <span class="ramp">
      <span>{kind === "retention" ? "retention  0" : "half-life  1"}</span>
      <Plot class="ramp-bar" height={10} label={kind === "retention" ? "Colour scale of retention from 0 to 1" : `Logarithmic colour scale of half-life from 1 to ${count(longest)} tokens`} draw={draw} />
      <span>{kind === "retention" ? "1" : `${count(longest)} tokens`}</span>
    </span>
  );
}

function AliveBar() {
  const { alive, evicted } = cellColours.value;
  return (
    <span class="ramp">
      <span>alive  few</span>
      <span class="ramp-bar alive-bar" style={{ background: `linear-gradient(to right, color-mix(in srgb, ${cssRgb(alive)} 40%, ${cssRgb(evicted)}), ${cssRgb(alive)})` }} />
      <span>all</span>
    </span>
  );
}

function State({ name, colour }: { name: string; colour: string }) {
  return (
    <span class="state">
      <i style={{ background: colour }} />
      {name}
    </span>
  );
}
