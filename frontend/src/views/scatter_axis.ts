// An axis for one score of all heads.
import { extent } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";

export interface Axis {
  at(value: number): number;
  ticks: number[];
}

/**
 * A linear axis, or a logarithmic one where positive values span more than two powers of ten. Nothing outside of `limits`,
 * the values the score can have, is on it.
 */
export function axisOf(values: readonly number[], range: readonly [number, number], limits: readonly [number, number] = [-Infinity, Infinity]): Axis {
  const [low = 0, high = 1] = extent(values);
  const isWide = low > 0 && high / low > 100;
  const spread = low === high ? [low - 0.5, high + 0.5] : [low, high];
  const scale = isWide ? scaleLog(spread, range).nice() : scaleLinear(spread, range).nice(4);
  const [from, to] = scale.domain();
  if (!isWide) scale.domain([Math.max(from, limits[0]), Math.min(to, limits[1])]);
  // A label to every 26 pixels at most.
  const ticks = scale.ticks(Math.max(1, Math.min(4, Math.floor(Math.abs(range[1] - range[0]) / 26))));
  return { at: (value) => scale(value), ticks: isWide ? ticks.filter((tick) => Number.isInteger(Math.log10(tick))) : ticks };
}
