// A trace made of numbers, for tests: what a server would answer, by hand.
import { LayerColumns } from "../src/data/columns";
import type { Cuts, Facts, Steps, Tokens } from "../src/data/model";
import type { TraceSource } from "../src/data/source";
import { STILL_CACHED } from "../src/base/cells";

export function noTokens(count = 0): Tokens {
  return {
    count,
    tokenId: new Uint32Array(count),
    text: Array.from({ length: count }, (_, i) => `t${i}`),
    origin: new Uint8Array(count),
    role: new Uint8Array(count).fill(255),
    roleNames: ["system", "user"],
    class: new Uint8Array(count),
    classNames: ["other", "word"],
    logprob: new Float32Array(count).fill(NaN),
    entropy: new Float32Array(count).fill(NaN),
  };
}

export function noSteps(): Steps {
  return { count: 0, tokensSeen: new Uint32Array(0), phase: new Uint8Array(0), elapsedUs: new Float64Array(0), cached: new Float64Array(0), evicted: new Float64Array(0) };
}

export function noCuts(): Cuts {
  return {
    count: 0, tokensSeen: new Uint32Array(0), head: new Uint16Array(0), cachedBefore: new Uint32Array(0),
    kept: new Uint32Array(0), threshold: new Float32Array(0), ties: new Uint32Array(0),
  };
}

export function bornLayer(layer: number, heads: number, seen: number, logBeta = -0.5): LayerColumns {
  const entries = heads * seen;
  return new LayerColumns(
    layer, heads, seen, 1, seen,
    new Float32Array(entries).fill(logBeta), new Uint32Array(entries).fill(STILL_CACHED), new Float32Array(entries).fill(NaN),
  );
}

/** Answers held back until the test lets them go. */
export class Held<T> {
  private readonly waiting: ((value: T) => void)[] = [];
  ask = (): Promise<T> => new Promise((resolve) => this.waiting.push(resolve));
  get asked(): number {
    return this.waiting.length;
  }
  async answer(value: T): Promise<void> {
    const resolve = this.waiting.shift();
    if (!resolve) throw new Error("nothing was asked for");
    resolve(value);
    // Lets whoever waited run.
    for (let turn = 0; turn < 8; turn++) await Promise.resolve();
  }
}

export const LAYERS = 2;
export const HEADS = 3;

/** A run in progress on a server whose lives are held back and whose other answers come at once. */
export class FakeSource implements TraceSource {
  readonly lives = new Held<LayerColumns>();
  seen = 0;
  factsAsked = 0;
  headsAsked = 0;
  status: "running" | "complete" = "running";
  async facts(): Promise<Facts> {
    this.factsAsked += 1;
    return {
      key: "k", title: "k", source: "live", text_known: true, gates_known: true,
      manifest: { schema: "trimkv-trace/1", id: "k", status: this.status, model: { layers: LAYERS, kv_heads: HEADS }, seen: this.seen },
    };
  }
  tokens = async () => noTokens(this.seen);
  lifetimes = () => this.lives.ask();
  cuts = async () => noCuts();
  steps = async () => noSteps();
  heads = async () => {
    this.headsAsked += 1;
    return [];
  };
  diagnoses = async () => [];
  events = (after: number) => `events?after=${after}`;
}
