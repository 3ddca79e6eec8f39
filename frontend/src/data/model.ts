// What a trace's data look like on the page; see docs/api.md and docs/trace-format.md.

export interface Manifest {
  schema: string;
  id: string;
  created?: string;
  status?: "running" | "complete" | "interrupted";
  model: { name?: string; layers: number; kv_heads: number; query_heads?: number; head_dim?: number; dtype?: string; [key: string]: unknown };
  gates?: { kind?: string; source?: string } | null;
  policy?: { name: string; budget?: number; buffer?: number; scope?: string; [key: string]: unknown };
  sampling?: { greedy?: boolean; temperature?: number | null; top_p?: number | null; seed?: number };
  device?: string;
  prompt?: { tokens: number; file?: string };
  generated?: { tokens: number; stop?: string };
  seen?: number;
  seconds?: { load?: number; prefill?: number; decode?: number };
  note?: string;
  bytes?: { cache_peak?: number; cache_full?: number; cache_now?: number };
  [key: string]: unknown;
}

export interface Facts {
  key: string;
  title: string;
  source: "bundled" | "local" | "live" | "dropped" | "report";
  path?: string;
  manifest: Manifest;
  text_known: boolean;
  gates_known: boolean;
}

/** One row of the list of traces. */
export interface Listed {
  key: string;
  title: string;
  source: Facts["source"];
  path: string | null;
  status: string | null;
  created: string | null;
  model: string | null;
  policy: string | null;
  budget: number | null;
  buffer: number | null;
  tokens: number | null;
  prompt_tokens: number | null;
  layers: number | null;
  kv_heads: number | null;
  bytes: number | null;
  deletable: boolean;
  /** What is to be seen in it, in a sentence. */
  note?: string | null;
  /** Why it cannot be read. */
  error?: string | null;
}

/** The text's tokens, by position. */
export interface Tokens {
  count: number;
  tokenId: Uint32Array;
  text: string[];
  /** 0 prompt, 1 generated. */
  origin: Uint8Array;
  /** Index into roleNames; 255: none. */
  role: Uint8Array;
  roleNames: string[];
  /** Index into classNames. */
  class: Uint8Array;
  classNames: string[];
  logprob: Float32Array;
  entropy: Float32Array;
}

/** Cuts of one layer, sorted by tokens seen and head. */
export interface Cuts {
  count: number;
  tokensSeen: Uint32Array;
  head: Uint16Array;
  cachedBefore: Uint32Array;
  kept: Uint32Array;
  /** Lowest score that stayed; NaN: unknown. */
  threshold: Float32Array;
  ties: Uint32Array;
}

/** Forward passes, in order. */
export interface Steps {
  count: number;
  tokensSeen: Uint32Array;
  /** 0 prefill, 1 decode. */
  phase: Uint8Array;
  elapsedUs: Float64Array;
  /** Entries cached over all heads after the pass's cut. */
  cached: Float64Array;
  /** Entries its cut removed. */
  evicted: Float64Array;
}

/** A head's measured scores, as `trimkv-trace heads --json` gives them. */
export interface HeadScores {
  layer: number;
  head: number;
  role: string;
  also: string[];
  evidence: string;
  kept: number;
  evicted: number;
  mean_lifetime: number | null;
  median_half_life: number | null;
  occupancy: number | null;
  sparsity: number | null;
  turnover: number | null;
  [score: string]: unknown;
}

/** One finding of the checks. */
export interface Diagnosis {
  code: string;
  severity: "problem" | "note";
  message: string;
  /** Those concerned, as `L1H2`; none when it is the run. */
  heads: string[];
}
