// What a cell of a head's triangle shows. The shader in paint/cells.frag.glsl computes the same, and so does the figures'
// raster in Rust; tests hold the three together.
//
// A cell is (key position, query position). It is not born while key > query; alive while the query is before the key's
// `evictedAt`; evicted from then on.

/** `evictedAt` of a token that is still cached. */
export const STILL_CACHED = 0xffffffff;

/** What a heatmap shows. */
export type MapKind = "retention" | "alive" | "half-life";
export const MAP_KINDS: readonly MapKind[] = ["retention", "alive", "half-life"];

/** States of a cell, in the order of the shader's. */
export const UNBORN = 0;
export const EVICTED = 1;
export const ALIVE = 2;

/** The state of a cell. */
export function stateAt(key: number, query: number, evictedAt: number): typeof UNBORN | typeof EVICTED | typeof ALIVE {
  if (key > query) return UNBORN;
  return query < evictedAt ? ALIVE : EVICTED;
}

/** Retention `exp(log_beta * age)` in [0, 1]; NaN without gates. */
export function retentionAt(logBeta: number, age: number): number {
  return age === 0 ? 1 : Math.exp(logBeta * age);
}

/** Tokens until retention has halved; infinite for a token that never fades, NaN without gates. */
export function halfLife(logBeta: number): number {
  return logBeta === 0 ? Infinity : Math.LN2 / -logBeta;
}

/** A half-life on a logarithmic axis from 1 (0) to `longest` tokens (1). */
export function halfLifeShare(logBeta: number, longest: number): number {
  const share = Math.log10(Math.max(halfLife(logBeta), 1e-30)) / Math.log10(longest);
  return Math.min(1, Math.max(0, share));
}

/** The end of the half-life axis for a run: the power of ten at or above ten times its length, at least 1,000. */
export function longestHalfLife(seen: number): number {
  return Math.max(1000, 10 ** Math.ceil(Math.log10(Math.max(1, seen) * 10)));
}

/** Entries a pixel looks at before it takes only every second, third, ...; the shader's loop bound. */
export const ENTRIES_PER_PIXEL = 64;

/** The cells that a pixel stands for, half open. */
export interface Block {
  key0: number;
  key1: number;
  query0: number;
  query1: number;
}

/** Cells along one axis of pixel `index`: the cell at its centre when cells are larger than pixels, else all it touches. */
export function cellsOfPixel(index: number, origin: number, cellsPerPixel: number): [number, number] {
  if (cellsPerPixel <= 1) {
    const cell = Math.floor(origin + (index + 0.5) * cellsPerPixel);
    return [cell, cell + 1];
  }
  const start = origin + index * cellsPerPixel;
  return [Math.floor(start), Math.ceil(start + cellsPerPixel - 1e-3)];
}

/** What a pixel shows: a state, and in a live pixel a value in [0, 1] (NaN: unknown). */
export interface Shown {
  state: number;
  value: number;
}

/** One head's column pair as pixels read it. */
export interface HeadColumns {
  logBeta: Float32Array;
  evictedAt: Uint32Array;
  /** The tokens that entries stand for; absent when entry i is token i. */
  position?: Uint32Array | undefined;
  /** Where the head's entries start. */
  start: number;
  /** Tokens to an entry. */
  pool: number;
  /** Tokens seen. */
  seen: number;
}

/**
 * What a pixel shows of its block. Retention and half-life: the largest among the tokens alive in it, so that a stripe of
 * one token never vanishes. Alive: the share of its tokens that are alive at its first query that sees them.
 */
export function shownIn(head: HeadColumns, block: Block, kind: MapKind, longest: number): Shown {
  const key1 = Math.min(block.key1, head.seen, block.query1);
  const key0 = Math.max(block.key0, 0);
  if (block.query0 >= head.seen || block.query1 <= 0 || key0 >= key1) return { state: UNBORN, value: 0 };
  const first = Math.floor(key0 / head.pool);
  const last = Math.ceil(key1 / head.pool);
  const stride = Math.max(1, Math.ceil((last - first) / ENTRIES_PER_PIXEL));
  let born = 0;
  let alive = 0;
  let value = -1;
  for (let entry = first; entry < last; entry += stride) {
    const at = head.start + entry;
    const key = head.position ? head.position[at] : entry;
    if (key >= block.query1) continue;
    const query = Math.max(block.query0, key);
    born += 1;
    if (query >= head.evictedAt[at]) continue;
    alive += 1;
    const logBeta = head.logBeta[at];
    const here = kind === "retention" ? retentionAt(logBeta, query - key) : halfLifeShare(logBeta, longest);
    value = Math.max(value, Number.isNaN(logBeta) ? -1 : here);
  }
  if (born === 0) return { state: UNBORN, value: 0 };
  if (alive === 0) return { state: EVICTED, value: 0 };
  if (kind === "alive") return { state: ALIVE, value: alive / born };
  return { state: ALIVE, value: value < 0 ? NaN : value };
}
