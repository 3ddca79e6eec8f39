// One layer's tokens as columns: the two numbers per token that every picture is expanded from.
import { type HeadColumns, STILL_CACHED } from "../base/cells";

/** Tokens to an entry from one level to the next. */
const LEVEL_FACTOR = 8;
/** Entries that a pixel may read before a coarser level is taken. */
const ENTRIES_PER_PIXEL = 32;

/** Lives of all heads of a layer, head after head, `stride` entries apart. */
export class LayerColumns {
  /** Grows whenever a value changes, so that copies elsewhere know. */
  version = 1;
  private coarser: { level: LayerColumns; version: number } | undefined;

  constructor(
    readonly layer: number,
    readonly heads: number,
    /** Tokens seen. */
    public seen: number,
    /** Tokens to an entry. */
    readonly pool: number,
    /** Entries from one head to the next; more than needed while a run grows. */
    public stride: number,
    /** Nats; NaN: unknown. */
    public logBeta: Float32Array,
    /** First query blind to the token; STILL_CACHED: none. */
    public evictedAt: Uint32Array,
    /** Score at its last cut; NaN: unknown. */
    public lastScore: Float32Array,
    /** Tokens that entries stand for; absent when entry i is token i. */
    readonly position?: Uint32Array | undefined,
  ) {}

  /** One head, as pixels read it. */
  head(head: number): HeadColumns {
    const { logBeta, evictedAt, position, pool, seen } = this;
    return { logBeta, evictedAt, position, start: head * this.stride, pool, seen };
  }

  /** Where a token's values are, when entries are tokens. */
  at(head: number, position: number): number {
    return head * this.stride + position;
  }

  /** The finest level that gives a pixel of so many tokens few enough entries to read them all. */
  level(tokensPerPixel: number): LayerColumns {
    if (tokensPerPixel / this.pool <= ENTRIES_PER_PIXEL) return this;
    if (!this.coarser || this.coarser.version !== this.version) {
      this.coarser = { level: pooled(this, LEVEL_FACTOR), version: this.version };
    }
    return this.coarser.level.level(tokensPerPixel);
  }

  /** Makes room for `seen` tokens, keeping what is known. */
  grow(seen: number): void {
    if (seen > this.stride) {
      const stride = Math.max(seen, 2 * this.stride, 256);
      const moved = <T extends Float32Array | Uint32Array>(column: T, made: T, blank: number): T => {
        made.fill(blank);
        for (let head = 0; head < this.heads; head++) {
          made.set(column.subarray(head * this.stride, head * this.stride + this.seen), head * stride);
        }
        return made;
      };
      const entries = this.heads * stride;
      this.logBeta = moved(this.logBeta, new Float32Array(entries), NaN);
      this.evictedAt = moved(this.evictedAt, new Uint32Array(entries), STILL_CACHED);
      this.lastScore = moved(this.lastScore, new Float32Array(entries), NaN);
      this.stride = stride;
    }
    this.seen = Math.max(this.seen, seen);
    this.version += 1;
  }

  /** Bytes held. */
  get bytes(): number {
    return this.logBeta.byteLength + this.evictedAt.byteLength + this.lastScore.byteLength + (this.position?.byteLength ?? 0);
  }
}

/** Every `factor` entries as the one of them kept longest; of equals the one that fades slower, then the older. */
export function pooled(fine: LayerColumns, factor: number): LayerColumns {
  const entries = Math.ceil(fine.seen / fine.pool);
  const stride = Math.ceil(entries / factor);
  const size = fine.heads * stride;
  const coarse = new LayerColumns(
    fine.layer, fine.heads, fine.seen, fine.pool * factor, stride,
    new Float32Array(size), new Uint32Array(size), new Float32Array(size), new Uint32Array(size),
  );
  for (let head = 0; head < fine.heads; head++) {
    for (let i = 0; i < stride; i++) {
      const start = head * fine.stride + i * factor;
      const end = head * fine.stride + Math.min(entries, (i + 1) * factor);
      let best = start;
      for (let at = start + 1; at < end; at++) {
        const longer = fine.evictedAt[at] > fine.evictedAt[best];
        const equal = fine.evictedAt[at] === fine.evictedAt[best];
        if (longer || (equal && fine.logBeta[at] > fine.logBeta[best])) best = at;
      }
      const to = head * stride + i;
      coarse.logBeta[to] = fine.logBeta[best];
      coarse.evictedAt[to] = fine.evictedAt[best];
      coarse.lastScore[to] = fine.lastScore[best];
      if (coarse.position) coarse.position[to] = fine.position ? fine.position[best] : best - head * fine.stride;
    }
  }
  return coarse;
}
