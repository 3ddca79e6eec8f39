// How to read the colours: the ramp with its numbers, and the three states.
import { type MapKind, longestHalfLife } from "../base/cells";
import { cssRgb } from "../base/colour";
import { count } from "../base/format";
import type { Trace } from "../data/trace";
import { cellColours, ramp } from "../state/theme";
import { view } from "../state/view";
import { Plot, type Surface } from "./plot";

export function MapLegend({ trace, kind }: { trace: Trace; kind?: MapKind | undefined }) {
  const map = kind ?? view.value.map;
  const longest = longestHalfLife(trace.seen.value);
  const colours = cellColours.value;
  const draw = ({ context, width, height }: Surface) => {
    const table = ramp.value;
    for (let x = 0; x < width; x++) {
      const step = Math.min(255, Math.floor((256 * x) / width)) * 3;
      context.fillStyle = cssRgb([table[step], table[step + 1], table[step + 2]]);
      context.fillRect(x, 0, 1, height);
    }
  };
  const state = (name: string, colour: string) => (
    <span class="state">
      <i style={{ background: colour }} />
      {name}
    </span>
  );
  return (
    <div class="legend" aria-label="Legend">
      {map === "alive" ? (
        state("alive", cssRgb(colours.alive))
      ) : (
        <span class="ramp">
          <span>{map === "retention" ? "retention  0" : "half-life  1"}</span>
          <Plot class="ramp-bar" height={10} label={map === "retention" ? "Colour scale of retention from 0 to 1" : `Logarithmic colour scale of half-life from 1 to ${count(longest)} tokens`} draw={draw} />
          <span>{map === "retention" ? "1" : `${count(longest)} tokens`}</span>
        </span>
      )}
      {state("evicted", cssRgb(colours.evicted))}
      {state("not born", cssRgb(colours.unborn))}
      {map !== "alive" && !trace.hasGates && state("alive, no gates", cssRgb(colours.unknown))}
    </div>
  );
}
