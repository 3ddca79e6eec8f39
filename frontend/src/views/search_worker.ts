// Runs a regular expression beside the page: one that never ends can only be stopped from outside.
import { MOST_HITS, matchesOf } from "./search_hits";

/** Asks for all matches of a pattern in a text. */
export interface SearchTask {
  source: string;
  flags: string;
  text: string;
}

/** Matches since the last message, starts and ends in turn. */
export interface SearchFound {
  units: Uint32Array;
  isDone: boolean;
}

/** Milliseconds between messages. */
const PACE = 50;

addEventListener("message", ({ data }: MessageEvent<SearchTask>) => {
  let units: number[] = [];
  let found = 0;
  let said = performance.now();
  const say = (isDone: boolean) => {
    postMessage({ units: Uint32Array.from(units), isDone } satisfies SearchFound);
    units = [];
    said = performance.now();
  };
  for (const [start, end] of matchesOf(new RegExp(data.source, data.flags), data.text)) {
    units.push(start, end);
    found += 1;
    if (found >= MOST_HITS) break;
    if (performance.now() - said > PACE) say(false);
  }
  say(true);
});
