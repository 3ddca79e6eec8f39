// One step of a run in progress, and what it changes in a trace. Applying it twice does no harm.
import { type Signal, batch } from "@preact/signals";
import { put } from "./growing";
import type { LayerColumns } from "./columns";
import type { Cuts, Steps, Tokens } from "./model";
import type { Loaded, Trace } from "./trace";

interface SentToken {
  position: number;
  token_id: number;
  text: string | null;
  origin: number | string;
  role: number | string | null;
  class: number | string;
  logprob: number | null;
  entropy: number | null;
}

interface SentCut {
  layer: number;
  head: number;
  cached_before: number;
  kept: number;
  threshold: number | null;
  ties: number;
}

/** A `step` event as docs/api.md has it. */
export interface SentStep {
  first: number;
  seen: number;
  tokens: SentToken[];
  /** Base64 of f32, (layers, kv_heads, seen - first); empty without gates. */
  log_beta: string;
  /** Base64 of pairs of u32: layer * kv_heads + head, position. */
  evicted: string;
  cuts: SentCut[];
  step: { phase: number | string; elapsed_us: number; cached: number; evicted: number };
  rate: number | null;
  eta_seconds: number | null;
  cache_bytes: number;
  full_bytes: number;
}

/** A step with its columns unpacked. */
export interface LiveStep extends Omit<SentStep, "log_beta" | "evicted"> {
  logBeta: Float32Array;
  evicted: Uint32Array;
}

function unpack(base64: string): ArrayBuffer {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

/** Reads an event's data. */
export function readStep(data: string): LiveStep {
  const { log_beta, evicted, ...sent } = JSON.parse(data) as SentStep;
  // Every machine that runs a browser is little-endian, as the wire is.
  return { ...sent, logBeta: new Float32Array(unpack(log_beta)), evicted: new Uint32Array(unpack(evicted)) };
}

/**
 * Brings what is here of the trace to the state after the step. What is on its way is left alone; apply the step again
 * when it has arrived. Gives "gap" when an earlier step is missing: then the trace has to be asked for again.
 */
export function applyStep(trace: Trace, step: LiveStep): "applied" | "gap" {
  let gap = false;
  batch(() => {
    for (const columns of trace.present()) gap = !writeLives(columns, trace, step) || gap;
    change(trace.tokens, (tokens) => {
      const next = withTokens(tokens, step.tokens);
      gap ||= next === "gap";
      return next === "gap" ? tokens : next;
    });
    change(trace.steps, (steps) => {
      // A trace without passes has none to miss.
      gap ||= steps.count > 0 && steps.tokensSeen[steps.count - 1] < step.first;
      return withPass(steps, step);
    });
    for (const [layer, cuts] of trace.presentCuts()) change(cuts, (known) => withCuts(known, layer, step));
    if (step.seen > trace.seen.peek()) trace.seen.value = step.seen;
    trace.version.value += 1;
  });
  return gap ? "gap" : "applied";
}

function change<T>(answer: Signal<Loaded<T>>, how: (value: T) => T): void {
  const now = answer.peek();
  if (now.state !== "here") return;
  const value = how(now.value);
  if (value !== now.value) answer.value = { state: "here", value };
}

/** False when tokens between the columns' and the step's are missing. */
function writeLives(columns: LayerColumns, trace: Trace, step: LiveStep): boolean {
  if (columns.seen > step.seen) return true;
  if (columns.seen < step.first) return false;
  columns.grow(step.seen);
  const born = step.seen - step.first;
  const firstHead = columns.layer * trace.kvHeads;
  if (step.logBeta.length > 0) {
    for (let head = 0; head < columns.heads; head++) {
      const from = (firstHead + head) * born;
      columns.logBeta.set(step.logBeta.subarray(from, from + born), columns.at(head, step.first));
    }
  }
  for (let i = 0; i < step.evicted.length; i += 2) {
    const head = step.evicted[i] - firstHead;
    if (head >= 0 && head < columns.heads) columns.evictedAt[columns.at(head, step.evicted[i + 1])] = step.seen;
  }
  return true;
}

function withTokens(known: Tokens, sent: readonly SentToken[]): Tokens | "gap" {
  const fresh = sent.filter(({ position }) => position >= known.count);
  if (fresh.length === 0) return known;
  const next = { ...known };
  for (const token of fresh) {
    const at = token.position;
    if (at > next.count) return "gap";
    next.tokenId = put(next.tokenId, at, token.token_id);
    next.text[at] = token.text ?? "";
    next.origin = put(next.origin, at, token.origin === 1 || token.origin === "generated" ? 1 : 0);
    next.role = put(next.role, at, code(token.role, next.roleNames));
    next.class = put(next.class, at, code(token.class, next.classNames));
    next.logprob = put(next.logprob, at, token.logprob ?? NaN);
    next.entropy = put(next.entropy, at, token.entropy ?? NaN);
    next.count = at + 1;
  }
  return next;
}

/** A name's code; 255 where there is none. */
function code(value: number | string | null, names: readonly string[]): number {
  if (typeof value === "number") return value;
  const found = value === null ? -1 : names.indexOf(value);
  return found < 0 ? 255 : found;
}

function withPass(known: Steps, { seen, step }: LiveStep): Steps {
  const last = known.count > 0 ? known.tokensSeen[known.count - 1] : 0;
  if (seen <= last) return known;
  const at = known.count;
  return {
    count: at + 1,
    tokensSeen: put(known.tokensSeen, at, seen),
    phase: put(known.phase, at, step.phase === 1 || step.phase === "decode" ? 1 : 0),
    elapsedUs: put(known.elapsedUs, at, step.elapsed_us),
    cached: put(known.cached, at, step.cached),
    evicted: put(known.evicted, at, step.evicted),
  };
}

function withCuts(known: Cuts, layer: number, { seen, cuts }: LiveStep): Cuts {
  const last = known.count > 0 ? known.tokensSeen[known.count - 1] : 0;
  const fresh = cuts.filter((cut) => cut.layer === layer).sort((a, b) => a.head - b.head);
  if (seen <= last || fresh.length === 0) return known;
  const next = { ...known };
  for (const cut of fresh) {
    const at = next.count;
    next.tokensSeen = put(next.tokensSeen, at, seen);
    next.head = put(next.head, at, cut.head);
    next.cachedBefore = put(next.cachedBefore, at, cut.cached_before);
    next.kept = put(next.kept, at, cut.kept);
    next.threshold = put(next.threshold, at, cut.threshold ?? NaN);
    next.ties = put(next.ties, at, cut.ties);
    next.count = at + 1;
  }
  return next;
}
