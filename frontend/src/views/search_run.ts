// A search under way: never more than a few milliseconds of a frame on the page, and two seconds in all.
import { type Haystack, Hits, matchesOf } from "./search_hits";
import type { Wanted } from "./search_query";
import type { SearchFound, SearchTask } from "./search_worker";

/** Milliseconds of a frame that a search on the page may take. */
const FRAME = 8;
/** Milliseconds after which a regular expression is stopped. */
export const LIMIT = 2000;

export interface SearchState {
  hits: Hits;
  /** "stopped": it took too long, or found more than anybody steps through; the hits so far stand. */
  state: "nothing" | "looking" | "done" | "stopped" | "error";
  why?: string | undefined;
}

/** Looks for what is wanted and reports whenever there is more; returns what stops it. */
export function startSearch(wanted: Wanted, haystack: () => Haystack, report: (state: SearchState) => void): () => void {
  const hits = new Hits();
  if (wanted.kind === "nothing" || wanted.kind === "error") {
    report({ hits, state: wanted.kind, why: wanted.kind === "error" ? wanted.why : undefined });
    return () => {};
  }
  report({ hits, state: "looking" });
  if (wanted.kind === "tokens") return inFrames(tokensOf(haystack(), wanted.matches, hits), hits, Infinity, report);
  const { pattern } = wanted;
  const here = () => inFrames(patternIn(haystack(), pattern, hits), hits, wanted.isTrusted ? Infinity : LIMIT, report);
  return wanted.isTrusted ? here() : beside(pattern, haystack(), hits, report, here);
}

function* tokensOf(haystack: Haystack, matches: (position: number) => boolean, hits: Hits): Generator<void> {
  for (let position = 0; position < haystack.count && !hits.isFull; position++) {
    if (matches(position)) hits.add(position, position);
    if (position % 4096 === 0) yield;
  }
}

function* patternIn(haystack: Haystack, pattern: RegExp, hits: Hits): Generator<void> {
  for (const [start, end] of matchesOf(pattern, haystack.text)) {
    hits.add(haystack.tokenAt(start), haystack.tokenAt(end - 1));
    if (hits.isFull) return;
    yield;
  }
}

function finished(hits: Hits): SearchState {
  return hits.isFull ? { hits, state: "stopped", why: "only so many are listed" } : { hits, state: "done" };
}

const TOO_LONG = `stopped after ${LIMIT / 1000} s: this pattern takes too long`;

/** Goes on with a search for a part of each frame. */
function inFrames(work: Generator<void>, hits: Hits, limit: number, report: (state: SearchState) => void): () => void {
  const started = performance.now();
  let frame = 0;
  const go = () => {
    const until = performance.now() + FRAME;
    while (performance.now() < until) {
      if (work.next().done) return report(finished(hits));
    }
    if (performance.now() - started > limit) return report({ hits, state: "stopped", why: TOO_LONG });
    report({ hits, state: "looking" });
    frame = requestAnimationFrame(go);
  };
  go();
  return () => cancelAnimationFrame(frame);
}

/** In a worker, which can be ended inside a match that would take for ever; on the page where none starts (a report's file). */
function beside(pattern: RegExp, haystack: Haystack, hits: Hits, report: (state: SearchState) => void, here: () => () => void): () => void {
  let worker: Worker;
  try {
    worker = new Worker(new URL("search.js", import.meta.url), { type: "module" });
  } catch {
    return here();
  }
  let stopped = () => {};
  const end = () => {
    clearTimeout(timer);
    worker.terminate();
  };
  const timer = setTimeout(() => {
    end();
    report({ hits, state: "stopped", why: TOO_LONG });
  }, LIMIT);
  worker.onerror = () => {
    end();
    stopped = here();
  };
  worker.onmessage = ({ data }: MessageEvent<SearchFound>) => {
    for (let at = 0; at < data.units.length; at += 2) {
      hits.add(haystack.tokenAt(data.units[at]), haystack.tokenAt(data.units[at + 1] - 1));
    }
    if (data.isDone) end();
    report(data.isDone ? finished(hits) : { hits, state: "looking" });
  };
  worker.postMessage({ source: pattern.source, flags: pattern.flags, text: haystack.text } satisfies SearchTask);
  return () => {
    end();
    stopped();
  };
}
