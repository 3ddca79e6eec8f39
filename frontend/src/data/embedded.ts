// A trace that the page itself carries: the report's data, as backend/report packs them.
import { STILL_CACHED } from "../base/cells";
import { LayerColumns, pooled } from "./columns";
import type { Cuts, Diagnosis, Facts, HeadScores, Steps, Tokens } from "./model";
import type { TraceSource } from "./source";

interface Column {
  name: string;
  kind: "u8" | "u32" | "f32" | "log2";
  at: number;
  count: number;
  /** Of "log2": the smallest size and the step between sizes, both as powers of two. */
  low?: number;
  step?: number;
}

interface Header {
  facts: Facts;
  heads: HeadScores[];
  findings: Diagnosis[];
  /** Tokens to an entry of the overview's lives. */
  pool: number;
  /** Layers that are here token by token. */
  full: number[];
  texts: string[];
  role_names: string[];
  class_names: string[];
  columns: Column[];
}

/** Code of a log beta that is not known. */
const UNKNOWN = 0xffff;

export class EmbeddedSource implements TraceSource {
  private constructor(
    private readonly header: Header,
    private readonly columns: ReadonlyMap<string, Column>,
    private readonly bytes: Uint8Array,
  ) {}

  /** Unpacks base64 text. */
  static async unpack(text: string): Promise<EmbeddedSource> {
    const packed = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return EmbeddedSource.read(new Uint8Array(await new Response(stream).arrayBuffer()));
  }

  /** Reads an uncompressed block. */
  static read(bytes: Uint8Array): EmbeddedSource {
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
    const header: Header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
    return new EmbeddedSource(header, new Map(header.columns.map((column) => [column.name, column])), bytes.subarray(4 + length));
  }

  async facts(): Promise<Facts> {
    return this.header.facts;
  }

  async tokens(): Promise<Tokens> {
    const { texts, role_names, class_names } = this.header;
    return {
      count: this.column("token_id").count,
      tokenId: this.u32("token_id"),
      text: texts,
      origin: this.u8("origin"),
      role: this.u8("role"),
      roleNames: role_names,
      class: this.u8("class"),
      classNames: class_names,
      logprob: this.f32("logprob"),
      entropy: this.f32("entropy"),
    };
  }

  async lifetimes(layer: number, pool: number): Promise<LayerColumns> {
    const { facts, full } = this.header;
    if (pool === 1 && !full.includes(layer)) {
      throw new Error(`this report holds layer ${layer} for the overview only, and these token by token: ${full.join(", ") || "none"}`);
    }
    const kept = pool === 1 ? 1 : this.header.pool;
    const name = (column: string) => `${column}/${layer}/${kept}`;
    const seen = facts.manifest.seen ?? 0;
    const heads = facts.manifest.model.kv_heads;
    const stride = Math.ceil(seen / kept);
    const position = kept > 1 ? this.u32(name("position")) : undefined;
    const [logBeta, evictedAt] = [this.f32(name("log_beta")), this.u32(name("evicted_at"))];
    const columns = new LayerColumns(layer, heads, seen, kept, stride, logBeta, evictedAt, this.scores(logBeta, evictedAt, position, stride), position);
    return pool > kept ? pooled(columns, pool / kept) : columns;
  }

  async cuts(layer: number): Promise<Cuts> {
    const of = (column: string) => this.u32(`cuts.${column}/${layer}`);
    const tokensSeen = of("tokens_seen");
    return {
      count: tokensSeen.length,
      tokensSeen,
      head: Uint16Array.from(of("head")),
      cachedBefore: of("cached_before"),
      kept: of("kept"),
      threshold: this.f32(`cuts.threshold/${layer}`),
      ties: of("ties"),
    };
  }

  async steps(): Promise<Steps> {
    const tokensSeen = this.u32("steps.tokens_seen");
    const wide = (column: string) => Float64Array.from(this.u32(`steps.${column}`));
    return {
      count: tokensSeen.length,
      tokensSeen,
      phase: this.u8("steps.phase"),
      elapsedUs: wide("elapsed_us"),
      cached: wide("cached"),
      evicted: wide("evicted"),
    };
  }

  async heads(): Promise<HeadScores[]> {
    return this.header.heads;
  }

  async diagnoses(): Promise<Diagnosis[]> {
    return this.header.findings;
  }

  /** Scores at the last cut, which a report does not carry: under plain retention they follow from log beta and age. */
  private scores(logBeta: Float32Array, evictedAt: Uint32Array, position: Uint32Array | undefined, stride: number): Float32Array {
    const scores = new Float32Array(logBeta.length).fill(NaN);
    if (this.header.facts.manifest.policy?.name !== "trimkv") return scores;
    const offset = Number(this.header.facts.manifest.policy.age_offset ?? 1);
    for (let at = 0; at < scores.length; at++) {
      if (evictedAt[at] === STILL_CACHED) continue;
      scores[at] = logBeta[at] * (evictedAt[at] + offset - (position ? position[at] : at % stride));
    }
    return scores;
  }

  private column(name: string): Column {
    const column = this.columns.get(name);
    if (!column) throw new Error(`this report holds no column ${name}`);
    return column;
  }

  /** A column's bytes, put together again from their planes. */
  private raw(column: Column, width: number): Uint8Array {
    const { at, count } = column;
    const out = new Uint8Array(count * width);
    for (let plane = 0; plane < width; plane++) {
      const from = at + plane * count;
      for (let i = 0; i < count; i++) out[i * width + plane] = this.bytes[from + i];
    }
    return out;
  }

  private u8(name: string): Uint8Array {
    const { at, count } = this.column(name);
    return this.bytes.subarray(at, at + count);
  }

  private u32(name: string): Uint32Array {
    return new Uint32Array(this.raw(this.column(name), 4).buffer);
  }

  private f32(name: string): Float32Array {
    const column = this.column(name);
    if (column.kind === "f32") return new Float32Array(this.raw(column, 4).buffer);
    const codes = new Uint16Array(this.raw(column, 2).buffer);
    const { low = 0, step = 1 } = column;
    return Float32Array.from(codes, (code) => (code === UNKNOWN ? NaN : code === 0 ? 0 : -(2 ** (low + (code - 1) * step))));
  }
}
