// How much is cached as tokens are seen, and how much each pass throws out; and what a row of pixels shows of it.
import { STILL_CACHED } from "../base/cells";
import type { LayerColumns } from "../data/columns";
import type { Steps } from "../data/model";

/** What is known at the end of each pass, in order. */
export interface Series {
  count: number;
  tokensSeen: ArrayLike<number>;
  /** Entries over all heads counted here, after the pass's cut. */
  cached: ArrayLike<number>;
  /** Entries that its cut removed. */
  evicted: ArrayLike<number>;
  /** Heads counted. */
  heads: number;
}

/** As the run recorded it, over all heads. */
export function seriesOfSteps(steps: Steps, heads: number): Series {
  const { count, tokensSeen, cached, evicted } = steps;
  return { count, tokensSeen, cached, evicted, heads };
}

/** As the lives of the heads at hand tell it, for a trace that recorded no passes: one row per token seen. */
export function seriesOfLayers(layers: readonly LayerColumns[]): Series {
  const count = layers.reduce((least, { seen }) => Math.min(least, seen), layers.length > 0 ? Infinity : 0);
  const heads = layers.reduce((sum, layer) => sum + layer.heads, 0);
  const gone = new Float64Array(count + 1);
  for (const layer of layers) {
    for (let head = 0; head < layer.heads; head++) {
      for (let position = 0; position < count; position++) {
        const at = layer.evictedAt[layer.at(head, position)];
        if (at <= count) gone[at] += 1;
      }
    }
  }
  const tokensSeen = new Uint32Array(count);
  const cached = new Float64Array(count);
  let now = 0;
  for (let i = 0; i < count; i++) {
    tokensSeen[i] = i + 1;
    now += heads - gone[i + 1];
    cached[i] = now;
  }
  return { count, tokensSeen, cached, evicted: gone.subarray(1), heads };
}

/** Entries a head shows each query, itself included: its key and those before it that no cut had removed. */
export function aliveByQuery(columns: LayerColumns, head: number): Uint32Array {
  const { seen } = columns;
  const alive = new Uint32Array(seen);
  for (let position = 0; position < seen; position++) {
    const at = columns.evictedAt[columns.at(head, position)];
    if (at !== STILL_CACHED && at < seen) alive[at] += 1;
  }
  // `alive` held departures; the running sum of them is what is missing.
  let gone = 0;
  for (let query = 0; query < seen; query++) {
    gone += alive[query];
    alive[query] = query + 1 - gone;
  }
  return alive;
}

/** Index of the last row with at most `tokens` seen; -1: none. */
export function rowAt({ count, tokensSeen }: Pick<Series, "count" | "tokensSeen">, tokens: number): number {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tokensSeen[middle] <= tokens) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Entries cached after so many tokens. Within a pass its tokens have entered and nothing has been cut. */
export function cachedAfter(series: Series, tokens: number): number {
  const row = rowAt(series, tokens);
  const before = row < 0 ? 0 : series.tokensSeen[row];
  return (row < 0 ? 0 : series.cached[row]) + (tokens - before) * series.heads;
}

/** What each pixel of a row shows. */
export interface Columns {
  /** The most entries cached after any of the pixel's tokens. */
  cached: Float64Array;
  /** Entries removed after any of its tokens, together. */
  evicted: Float64Array;
  /** Tokens to a pixel. */
  tokensPerPixel: number;
}

/** Spreads the run's first `tokens` tokens over a row of pixels; after s tokens is at `s / tokens` of the width. */
export function columnsOf(series: Series, tokens: number, pixels: number): Columns {
  const cached = new Float64Array(pixels).fill(-1);
  const evicted = new Float64Array(pixels);
  const pixelOf = (seen: number) => Math.min(pixels - 1, Math.max(0, Math.ceil((seen * pixels) / tokens) - 1));
  /** Last tokens seen that belong to the pixel. */
  const endOf = (pixel: number) => Math.floor(((pixel + 1) * tokens) / pixels);
  const rise = (from: number, to: number, start: number) => {
    // Entries grow by one per head and token, so a pixel's most is at its last token.
    for (let pixel = pixelOf(from); from <= to && pixel <= pixelOf(to); pixel++) {
      const last = Math.min(to, Math.max(from, endOf(pixel)));
      cached[pixel] = Math.max(cached[pixel], start + (last - from + 1) * series.heads);
    }
  };
  let [before, held] = [0, 0];
  for (let row = 0; row < series.count; row++) {
    const seen = series.tokensSeen[row];
    if (seen > tokens) break;
    rise(before + 1, seen - 1, held);
    const pixel = pixelOf(seen);
    cached[pixel] = Math.max(cached[pixel], series.cached[row]);
    evicted[pixel] += series.evicted[row];
    [before, held] = [seen, series.cached[row]];
  }
  // A pixel between two tokens shows what was cached before it.
  for (let pixel = 0; pixel < pixels; pixel++) if (cached[pixel] < 0) cached[pixel] = pixel === 0 ? 0 : cached[pixel - 1];
  return { cached, evicted, tokensPerPixel: tokens / pixels };
}

/** Least and most of `values[from..to)` for each of a row of pixels. */
export function rangeByPixel(values: Uint32Array, pixels: number): { least: Float64Array; most: Float64Array } {
  const least = new Float64Array(pixels);
  const most = new Float64Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const from = Math.min(values.length - 1, Math.floor((pixel * values.length) / pixels));
    const to = Math.max(from + 1, Math.ceil(((pixel + 1) * values.length) / pixels - 1e-9));
    let [low, high] = [Infinity, -Infinity];
    for (let at = from; at < to; at++) {
      low = Math.min(low, values[at]);
      high = Math.max(high, values[at]);
    }
    least[pixel] = low;
    most[pixel] = high;
  }
  return { least, most };
}
