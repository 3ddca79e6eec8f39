// A token's life in one head, in words.
import { STILL_CACHED, halfLife } from "../base/cells";
import { count, number } from "../base/format";
import type { Cuts } from "../data/model";

export interface Life {
  position: number;
  /** Nats; NaN: no gates. */
  logBeta: number;
  evictedAt: number;
  /** Score at its last cut; NaN: unknown. */
  lastScore: number;
  /** Query position that "now" means. */
  now: number;
}

/** One sentence each: what the head has of it now, how it fades, when and why it left. */
export function lifeInWords(life: Life, head: number, cuts: Cuts | undefined): { state: string; fading: string; end: string } {
  return { state: stateInWords(life), fading: fadingInWords(life.logBeta), end: endInWords(life, head, cuts) };
}

function stateInWords({ position, now, evictedAt }: Life): string {
  if (position > now) return `Not born yet: the query is at ${count(now)}.`;
  const age = plain(now - position);
  return now < evictedAt ? `Alive, ${age} old.` : `Evicted; it would be ${age} old.`;
}

function plain(tokens: number): string {
  return `${count(tokens)} ${tokens === 1 ? "token" : "tokens"}`;
}

function fadingInWords(logBeta: number): string {
  if (Number.isNaN(logBeta)) return "No gates: nothing is known of how it fades.";
  const half = halfLife(logBeta);
  if (half === Infinity) return "It never fades.";
  return `Half-life ${number(half)} tokens.`;
}

function endInWords({ position, evictedAt, lastScore }: Life, head: number, cuts: Cuts | undefined): string {
  if (evictedAt === STILL_CACHED) {
    const last = cuts && lastCut(cuts, head);
    if (!last || Number.isNaN(lastScore) || Number.isNaN(last.threshold)) return "Still cached at the end of the run.";
    return `Still cached at the end: score ${number(lastScore)} at the cut of ${count(last.tokensSeen)}, where ${number(last.threshold)} was the lowest that stayed.`;
  }
  const when = `Evicted at ${count(evictedAt)}, ${plain(evictedAt - position)} after its birth`;
  const cut = cuts && cutAt(cuts, head, evictedAt);
  if (!cut) return `${when}.`;
  if (Number.isNaN(cut.threshold)) return `${when}: only protected tokens stayed.`;
  if (Number.isNaN(lastScore)) return `${when}; the lowest score that stayed was ${number(cut.threshold)}.`;
  if (lastScore > cut.threshold) return `${when} with score ${number(lastScore)}, though ${number(cut.threshold)} was the lowest that stayed.`;
  if (lastScore === cut.threshold) return `${when}: its score ${number(lastScore)} equalled the lowest that stayed, and ties go to the newer token.`;
  const [score, threshold] = toldApart(lastScore, cut.threshold);
  return `${when}: its score ${score} was under ${threshold}, the lowest that stayed.`;
}

/** Two numbers with as many digits as it takes to see that they differ. */
function toldApart(a: number, b: number): [string, string] {
  if (number(a) !== number(b)) return [number(a), number(b)];
  const digits = [4, 5, 6, 7, 8].find((digits) => a.toPrecision(digits) !== b.toPrecision(digits)) ?? 9;
  return [a.toPrecision(digits).replace("-", "−"), b.toPrecision(digits).replace("-", "−")];
}

interface Cut {
  tokensSeen: number;
  threshold: number;
}

/** A head's cut at a time; rows are sorted by time and head. */
export function cutAt(cuts: Cuts, head: number, tokensSeen: number): Cut | undefined {
  let [low, high] = [0, cuts.count];
  while (low < high) {
    const middle = (low + high) >> 1;
    const isBefore = cuts.tokensSeen[middle] < tokensSeen || (cuts.tokensSeen[middle] === tokensSeen && cuts.head[middle] < head);
    if (isBefore) low = middle + 1;
    else high = middle;
  }
  if (low >= cuts.count || cuts.tokensSeen[low] !== tokensSeen || cuts.head[low] !== head) return undefined;
  return { tokensSeen, threshold: cuts.threshold[low] };
}

function lastCut(cuts: Cuts, head: number): Cut | undefined {
  for (let at = cuts.count - 1; at >= 0; at--) {
    if (cuts.head[at] === head) return { tokensSeen: cuts.tokensSeen[at], threshold: cuts.threshold[at] };
  }
  return undefined;
}
