// The trace on the page: asked for once, kept while it is looked at, growing while its run goes on.
import { type Signal, signal } from "@preact/signals";
import type { LayerColumns } from "./columns";
import type { Cuts, Diagnosis, Facts, HeadScores, Steps, Tokens } from "./model";
import type { TraceSource } from "./source";

/** Tokens above which the overview asks for pooled lives. */
export const EXACT_OVERVIEW = 8192;
/** Entries of a head in a pooled overview. */
const OVERVIEW_ENTRIES = 4096;
/** Bytes of full layers kept beside the overview; the least recently used go first. */
const LAYER_BYTES = 192 * 2 ** 20;
/** Requests for layers under way at once. */
const PARALLEL = 4;

/** Something that is asked for, here, or refused. */
export type Loaded<T> = { state: "waiting" } | { state: "here"; value: T } | { state: "failed"; why: string };

/** The value of something that may be here. Reading it in a view makes the view follow it. */
export function here<T>(answer: Signal<Loaded<T>>): T | undefined {
  return answer.value.state === "here" ? answer.value.value : undefined;
}

export class Trace {
  readonly layers: number;
  readonly kvHeads: number;
  /** Tokens of the prompt; generated ones follow. */
  readonly promptTokens: number;
  /** Tokens the model has read: the triangle's side. Grows while a run goes on. */
  readonly seen: Signal<number>;
  /** Grows when a run in progress has changed something; views that read columns read this too. */
  readonly version = signal(0);
  readonly tokens: Signal<Loaded<Tokens>>;
  readonly steps: Signal<Loaded<Steps>>;
  readonly heads: Signal<Loaded<HeadScores[]>>;
  readonly diagnoses: Signal<Loaded<Diagnosis[]>>;
  private readonly overviews = new Map<number, Signal<Loaded<LayerColumns>>>();
  private readonly full = new Map<number, Signal<Loaded<LayerColumns>>>();
  private readonly cutsOf = new Map<number, Signal<Loaded<Cuts>>>();
  private readonly queue: (() => Promise<unknown>)[] = [];
  private running = 0;
  private refreshes = 0;
  private readonly known: Signal<Facts>;
  /** Called when a part has arrived, so that events which came meanwhile can be applied to it. */
  onArrival: () => void = () => {};

  constructor(
    readonly source: TraceSource,
    facts: Facts,
  ) {
    this.known = signal(facts);
    const { model, prompt, seen } = facts.manifest;
    this.layers = model.layers;
    this.kvHeads = model.kv_heads;
    this.promptTokens = prompt?.tokens ?? 0;
    this.seen = signal(seen ?? 0);
    this.tokens = this.later(() => source.tokens());
    this.steps = this.later(() => source.steps());
    // Of a run that has written nothing yet there is nothing to find.
    const findings = <T>(ask: () => Promise<T>) => (this.hasFindings ? this.later(ask) : signal<Loaded<T>>({ state: "waiting" }));
    this.heads = findings(() => source.heads());
    this.diagnoses = findings(() => source.diagnoses());
  }

  static async open(source: TraceSource): Promise<Trace> {
    return new Trace(source, await source.facts());
  }

  /** What is known of the run. */
  get facts(): Facts {
    return this.known.value;
  }

  /** Whether anything is written that heads' roles and the checks can be found from. */
  get hasFindings(): boolean {
    const { status, seen } = this.facts.manifest;
    return status !== "running" || (seen ?? 0) > 0;
  }

  /** Whether tokens fade. A run in progress says so before the first gate value is written. */
  get hasGates(): boolean {
    const { gates_known, manifest } = this.facts;
    return gates_known || (manifest.status === "running" && manifest.gates != null);
  }

  /** Asks again for everything that was asked for; what is here stays until the new arrives. */
  async refresh(): Promise<void> {
    this.refreshes += 1;
    const facts = await this.source.facts();
    this.known.value = facts;
    this.seen.value = Math.max(this.seen.peek(), facts.manifest.seen ?? 0);
    this.ask(this.tokens, () => this.source.tokens());
    this.ask(this.steps, () => this.source.steps());
    this.askForFindings();
    for (const [layer, cuts] of this.cutsOf) this.ask(cuts, () => this.inTurn(() => this.source.cuts(layer)));
    for (const [layer, columns] of this.full) this.ask(columns, () => this.inTurn(() => this.source.lifetimes(layer, 1)));
    this.refreshOverviews();
  }

  /** Asks again for what is found from what is written: facts, roles, checks. */
  async refreshFindings(): Promise<void> {
    const refreshes = this.refreshes;
    const facts = await this.source.facts();
    // A later answer to an earlier question must not undo what a refresh has learned since.
    if (refreshes !== this.refreshes) return;
    this.known.value = facts;
    this.askForFindings();
  }

  private askForFindings(): void {
    if (!this.hasFindings) return;
    this.ask(this.heads, () => this.source.heads());
    this.ask(this.diagnoses, () => this.source.diagnoses());
  }

  /** Asks again for pooled lives, which events cannot be applied to. */
  refreshOverviews(): void {
    const pool = this.overviewPool;
    for (const [layer, columns] of this.overviews) this.ask(columns, () => this.inTurn(() => this.source.lifetimes(layer, pool)));
  }

  /** Tokens to an entry in the overview. */
  get overviewPool(): number {
    const seen = this.seen.peek();
    return seen <= EXACT_OVERVIEW ? 1 : Math.ceil(seen / OVERVIEW_ENTRIES);
  }

  /** A layer for small pictures. */
  overview(layer: number): Signal<Loaded<LayerColumns>> {
    const pool = this.overviewPool;
    return pool === 1 ? this.layer(layer) : this.once(this.overviews, layer, () => this.source.lifetimes(layer, pool));
  }

  /** A layer, token by token. */
  layer(layer: number): Signal<Loaded<LayerColumns>> {
    const known = this.once(this.full, layer, () => this.source.lifetimes(layer, 1));
    // In order of use.
    this.full.delete(layer);
    this.full.set(layer, known);
    if (this.overviewPool > 1) this.forget();
    return known;
  }

  /** A layer's cuts. */
  cuts(layer: number): Signal<Loaded<Cuts>> {
    return this.once(this.cutsOf, layer, () => this.source.cuts(layer));
  }

  /** Layers that are here in full, for a run in progress to write to. */
  *present(): Iterable<LayerColumns> {
    for (const answer of this.full.values()) {
      const value = answer.peek();
      if (value.state === "here") yield value.value;
    }
  }

  /** Cuts that are here, by layer. */
  *presentCuts(): Iterable<[number, Signal<Loaded<Cuts>>]> {
    yield* this.cutsOf;
  }

  private once<T>(kept: Map<number, Signal<Loaded<T>>>, layer: number, ask: () => Promise<T>): Signal<Loaded<T>> {
    let known = kept.get(layer);
    if (!known) {
      known = this.later(() => this.inTurn(ask));
      kept.set(layer, known);
    }
    return known;
  }

  private later<T>(ask: () => Promise<T>): Signal<Loaded<T>> {
    const answer = signal<Loaded<T>>({ state: "waiting" });
    this.ask(answer, ask);
    return answer;
  }

  /** A refusal does not take away what is already here. */
  private ask<T>(answer: Signal<Loaded<T>>, ask: () => Promise<T>): void {
    ask()
      .then(
        (value) => (answer.value = { state: "here", value }),
        (error: unknown) => {
          if (answer.peek().state !== "here") answer.value = { state: "failed", why: error instanceof Error ? error.message : String(error) };
        },
      )
      .finally(() => this.onArrival());
  }

  /** A few at a time, so that what is asked for last does not wait for a hundred others' bytes to arrive together. */
  private inTurn<T>(ask: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.queue.push(() => ask().then(resolve, reject));
      this.next();
    });
  }

  private next(): void {
    while (this.running < PARALLEL) {
      const ask = this.queue.shift();
      if (!ask) return;
      this.running += 1;
      ask().finally(() => {
        this.running -= 1;
        this.next();
      });
    }
  }

  private forget(): void {
    let bytes = 0;
    for (const [layer, answer] of [...this.full].reverse()) {
      const value = answer.peek();
      if (value.state === "here") bytes += value.value.bytes;
      if (bytes > LAYER_BYTES) this.full.delete(layer);
    }
  }
}
