// The cuts of one head, and the threshold that each of them set.
import type { Cuts } from "../data/model";

/** Cuts of one head, in order. */
export interface HeadCuts {
  tokensSeen: number[];
  /** Lowest score that stayed; NaN: unknown. */
  threshold: number[];
  cachedBefore: number[];
  kept: number[];
}

export const NO_CUTS: HeadCuts = { tokensSeen: [], threshold: [], cachedBefore: [], kept: [] };

export function cutsOfHead(cuts: Cuts, head: number): HeadCuts {
  const of: HeadCuts = { tokensSeen: [], threshold: [], cachedBefore: [], kept: [] };
  for (let row = 0; row < cuts.count; row++) {
    if (cuts.head[row] !== head) continue;
    of.tokensSeen.push(cuts.tokensSeen[row]);
    of.threshold.push(cuts.threshold[row]);
    of.cachedBefore.push(cuts.cachedBefore[row]);
    of.kept.push(cuts.kept[row]);
  }
  return of;
}

/** Index of the cut at so many tokens; -1: none. */
export function cutAt(cuts: HeadCuts, tokens: number): number {
  let [low, high] = [0, cuts.tokensSeen.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cuts.tokensSeen[middle] < tokens) low = middle + 1;
    else high = middle;
  }
  return cuts.tokensSeen[low] === tokens ? low : -1;
}

/** The threshold that holds after so many tokens: that of the last cut; NaN: none yet. */
export function thresholdAt(cuts: HeadCuts, tokens: number): { threshold: number; at: number } {
  let found = { threshold: NaN, at: 0 };
  for (let cut = 0; cut < cuts.tokensSeen.length && cuts.tokensSeen[cut] <= tokens; cut++) {
    found = { threshold: cuts.threshold[cut], at: cuts.tokensSeen[cut] };
  }
  return found;
}

/** Thresholds as they hold, from a cut to the next. */
export function thresholdSteps(cuts: HeadCuts, span: readonly [number, number]): { from: number; to: number; threshold: number }[] {
  const steps: { from: number; to: number; threshold: number }[] = [];
  cuts.tokensSeen.forEach((from, cut) => {
    const to = cuts.tokensSeen[cut + 1] ?? span[1];
    const threshold = cuts.threshold[cut];
    if (Number.isNaN(threshold) || to <= span[0] || from >= span[1]) return;
    steps.push({ from: Math.max(span[0], from), to: Math.min(span[1], to), threshold });
  });
  return steps;
}
