// Which heads keep a token: one number per (layer, head, token), the query from which it is gone, for all layers at once.
import { STILL_CACHED } from "../base/cells";
import type { LayerColumns } from "./columns";

/** When a layer's tokens left; what a keeper count needs of it. */
export interface LayerLives {
  readonly seen: number;
  evictedAt(head: number, position: number): number;
  /** Heads of the layer that keep a token at a query at which it is born. */
  keepers(position: number, query: number): number;
}

/** Reads the layer's own columns: follows a run in progress, costs nothing. */
export function sharedLives(columns: LayerColumns): LayerLives {
  return {
    get seen() {
      return columns.seen;
    },
    evictedAt: (head, position) => columns.evictedAt[columns.at(head, position)],
    keepers(position, query) {
      let kept = 0;
      for (let head = 0; head < columns.heads; head++) kept += query < columns.evictedAt[columns.at(head, position)] ? 1 : 0;
      return kept;
    },
  };
}

/**
 * A copy of what left when. Tokens leave at cuts, of which there are few: two bytes a token say at which, so that 288
 * heads of 131,072 tokens take 72 MiB. Where there are more cuts than two bytes can tell, the columns are copied.
 */
export function packedLives({ evictedAt, heads, stride, seen }: Pick<LayerColumns, "evictedAt" | "heads" | "stride" | "seen">): LayerLives {
  // A slot for every time up to the run's end, and one for tokens that stay (as all later times do).
  const codes = new Uint32Array(seen + 2);
  const slot = (time: number) => (time > seen ? seen + 1 : time);
  for (let head = 0; head < heads; head++) {
    for (let at = head * stride; at < head * stride + seen; at++) codes[slot(evictedAt[at])] = 1;
  }
  const found: number[] = [];
  for (let time = 0; time < codes.length; time++) {
    if (codes[time] === 0) continue;
    codes[time] = found.length;
    found.push(time > seen ? STILL_CACHED : time);
  }
  const times = Uint32Array.from(found);
  const fits = times.length <= 0x10000;
  const packed = fits ? new Uint16Array(heads * seen) : new Uint32Array(heads * seen);
  for (let head = 0; head < heads; head++) {
    for (let position = 0; position < seen; position++) {
      const time = evictedAt[head * stride + position];
      packed[head * seen + position] = fits ? codes[slot(time)] : time;
    }
  }
  return {
    seen,
    evictedAt: (head, position) => (fits ? times[packed[head * seen + position]] : packed[head * seen + position]),
    keepers(position, query) {
      const first = fits ? firstAfter(times, query) : query + 1;
      let kept = 0;
      for (let at = position; at < packed.length; at += seen) kept += packed[at] >= first ? 1 : 0;
      return kept;
    },
  };
}

/** Index of the first time after a query. */
function firstAfter(times: Uint32Array, query: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] > query) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** What a head has of a token at a query. */
export type Holding = "kept" | "evicted" | "unborn" | "unknown";

/** Layers as they arrive. */
export class Keepers {
  private readonly lives: (LayerLives | undefined)[];

  constructor(
    readonly layers: number,
    readonly heads: number,
  ) {
    this.lives = Array.from({ length: layers });
  }

  add(layer: number, lives: LayerLives): void {
    this.lives[layer] = lives;
  }

  /** Layers that are here. */
  get counted(): number {
    return this.lives.reduce((sum, lives) => sum + (lives ? 1 : 0), 0);
  }

  /** Heads, among the layers that are here, that keep a token at a query. */
  count(position: number, query: number): number {
    if (position > query) return 0;
    let kept = 0;
    for (const lives of this.lives) if (lives && position < lives.seen) kept += lives.keepers(position, query);
    return kept;
  }

  /** First query blind to the token in a head; undefined while the layer is not here. */
  evictedAt(layer: number, head: number, position: number): number | undefined {
    const lives = this.lives[layer];
    return lives && position < lives.seen ? lives.evictedAt(head, position) : undefined;
  }

  holding(layer: number, head: number, position: number, query: number): Holding {
    const evictedAt = this.evictedAt(layer, head, position);
    if (evictedAt === undefined) return "unknown";
    if (position > query) return "unborn";
    return query < evictedAt ? "kept" : "evicted";
  }

  /** Heads that keep a token longest and shortest over the whole run, among the layers that are here. */
  extremes(position: number): { longest: Keeper; shortest: Keeper; stillCached: number } | undefined {
    let longest: Keeper | undefined;
    let shortest: Keeper | undefined;
    let stillCached = 0;
    for (let layer = 0; layer < this.layers; layer++) {
      for (let head = 0; head < this.heads; head++) {
        const evictedAt = this.evictedAt(layer, head, position);
        if (evictedAt === undefined) continue;
        if (evictedAt === STILL_CACHED) stillCached += 1;
        if (!longest || evictedAt > longest.evictedAt) longest = { layer, head, evictedAt };
        if (!shortest || evictedAt < shortest.evictedAt) shortest = { layer, head, evictedAt };
      }
    }
    return longest && shortest && { longest, shortest, stillCached };
  }
}

export interface Keeper {
  layer: number;
  head: number;
  evictedAt: number;
}
