// The upward axis of life lines: scores as they are, or how far they are under zero on a logarithmic axis.
import { scaleLinear, scaleLog } from "d3-scale";

export interface ScoreScale {
  (score: number): number;
  ticks(amount?: number): number[];
  isLog: boolean;
}

/** Ratio of the deepest to the shallowest score that decides something, from which on a linear axis would hide one of them. */
const WIDE = 40;

/** Whether a logarithmic axis can show the scores: all are under zero. */
export function canBeLog(scores: readonly number[]): boolean {
  return scores.length > 0 && scores.every((score) => score < 0);
}

/** Whether it should, by the scores at which something was decided. */
export function wantsLog(decided: readonly number[]): boolean {
  if (!canBeLog(decided)) return false;
  const depths = decided.map((score) => -score);
  return Math.max(...depths) / Math.min(...depths) > WIDE;
}

/** The best score at the top (`range[1]`), the worst at the bottom. */
export function scoreScale(scores: readonly number[], isLog: boolean, range: [number, number]): ScoreScale {
  const [bottom, top] = range;
  if (isLog && canBeLog(scores)) {
    const depths = scores.map((score) => -score);
    const scale = scaleLog([Math.min(...depths), Math.max(...depths) * 1.3], [top, bottom]).clamp(true);
    const at = (score: number) => (score < 0 ? scale(-score) : top);
    const ticks = () => {
      const powers = scale.ticks().filter((tick) => Number.isInteger(Math.round(Math.log10(tick) * 1e9) / 1e9));
      return (powers.length >= 2 ? powers : scale.ticks(4)).map((depth) => -depth);
    };
    return Object.assign(at, { ticks, isLog: true });
  }
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  const spare = low === high ? 1 : (high - low) * 0.06;
  // Scores in nats reach zero; there the axis ends.
  const scale = scaleLinear([low - spare, high <= 0 && high + spare >= 0 ? 0 : high + spare], range);
  return Object.assign((score: number) => scale(score), { ticks: (amount?: number) => scale.ticks(amount), isLog: false });
}
