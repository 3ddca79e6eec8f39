// Follows a run in progress: its events, applied to the trace on the page.
import { type Signal, batch, signal } from "@preact/signals";
import { type LiveStep, applyStep, readStep } from "./live_step";
import { EXACT_OVERVIEW, type Trace } from "./trace";

/** How it stands with the events. `gone`: the server has not answered for a while; it is still being asked. */
export type LiveState = "connecting" | "live" | "reconnecting" | "gone" | "ended";

/** The run's latest figures. */
export interface Pulse {
  seen: number;
  /** Tokens per second; null: not known yet. */
  rate: number | null;
  /** To the last token that may come; null: not known. */
  etaSeconds: number | null;
  cacheBytes: number;
  fullBytes: number;
}

/** What is used of an EventSource. */
export interface EventStream {
  readonly readyState: number;
  onopen: (() => void) | null;
  onerror: (() => void) | null;
  addEventListener(name: string, heard: (event: MessageEvent<string>) => void): void;
  close(): void;
}

export interface LiveOptions {
  open: (address: string) => EventStream;
  /** Runs something after so many milliseconds; gives what calls it off. */
  later: (what: () => void, ms: number) => () => void;
}

/** Steps that came within this time are drawn together, and longer by a millisecond for every so many lives to draw anew. */
const TOGETHER_MS = 100;
const LIVES_PER_MS = 10_000;
/** Tries to reach the server before it is called gone. */
const TRIES = 3;
/** First wait before a closed stream is opened again; doubles up to LONGEST_WAIT_MS. */
const WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;
/** Steps kept after they were applied: a server answers from files, which are a little behind what it tells. */
const KEPT_STEPS = 1024;
const KEPT_BYTES = 16 * 2 ** 20;
/** Share by which a run grows before pooled pictures of it are asked for again. */
const POOLED_GROWTH = 1 / 16;
/** Wait before a run that had written nothing is asked again what is found in it. */
const FIND_AGAIN_MS = 1500;
const CLOSED = 2;

const inBrowser: LiveOptions = {
  open: (address) => new EventSource(address) as EventStream,
  later: (what, ms) => {
    const timer = setTimeout(what, ms);
    return () => clearTimeout(timer);
  },
};

/** Whether events of the run can still come. */
export function isRunning(trace: Trace): boolean {
  const { source, manifest } = trace.facts;
  return trace.source.events !== undefined && (manifest.status ? manifest.status === "running" : source === "live");
}

export class Live {
  readonly state: Signal<LiveState> = signal("connecting");
  readonly pulse: Signal<Pulse | undefined> = signal(undefined);
  /** The run's status once it has ended. */
  readonly outcome: Signal<string | undefined> = signal(undefined);
  private stream: EventStream | undefined;
  private calledOff = false;
  private readonly timers = new Set<() => void>();
  /** The latest steps, replayed on what arrives. */
  private log: LiveStep[] = [];
  private arrived: LiveStep[] = [];
  private failures = 0;
  private troubles = 0;
  private isRefreshing = false;
  private isFinding = false;
  private pooledAt: number;

  /** Begins to follow; `close` ends it. */
  constructor(
    private readonly trace: Trace,
    private readonly options: LiveOptions = inBrowser,
  ) {
    this.pooledAt = trace.seen.peek();
    trace.onArrival = () => this.replay();
    this.connect(trace.facts.manifest.seen ?? 0);
  }

  close(): void {
    this.calledOff = true;
    this.stream?.close();
    for (const callOff of this.timers) callOff();
    this.timers.clear();
    this.trace.onArrival = () => {};
  }

  private connect(after: number): void {
    const address = this.trace.source.events?.(after);
    if (address === undefined || this.calledOff) return;
    this.stream?.close();
    const stream = this.options.open(address);
    this.stream = stream;
    stream.onopen = () => {
      this.failures = 0;
      this.state.value = "live";
    };
    // A dropped connection is taken up again by the stream itself, with Last-Event-ID; a refused one is not, and then
    // what the server says of the run tells whether there is anything left to follow.
    stream.onerror = () => {
      if (this.stream !== stream || this.state.peek() === "ended") return;
      this.failures += 1;
      this.state.value = this.failures >= TRIES ? "gone" : "reconnecting";
      if (stream.readyState === CLOSED) this.resync("failed");
    };
    stream.addEventListener("step", (event) => this.heard(readStep(event.data)));
    stream.addEventListener("resync", () => this.resync("told"));
    stream.addEventListener("end", (event) => this.ended(JSON.parse(event.data) as { status: string; seen: number }));
  }

  private heard(step: LiveStep): void {
    this.arrived.push(step);
    const lives = this.trace.layers * this.trace.kvHeads * Math.min(step.seen, EXACT_OVERVIEW);
    if (this.arrived.length === 1) this.after(TOGETHER_MS + lives / LIVES_PER_MS, () => this.apply());
  }

  private apply(): void {
    const steps = this.arrived;
    this.arrived = [];
    const last = steps.at(-1);
    if (!last) return;
    this.keep(steps);
    let gap = false;
    batch(() => {
      for (const step of steps) gap = applyStep(this.trace, step) === "gap" || gap;
      this.pulse.value = { seen: last.seen, rate: last.rate, etaSeconds: last.eta_seconds, cacheBytes: last.cache_bytes, fullBytes: last.full_bytes };
    });
    if (gap) return this.resync("gap");
    this.troubles = 0;
    if (last.seen > this.pooledAt * (1 + POOLED_GROWTH)) {
      this.pooledAt = last.seen;
      this.trace.refreshOverviews();
      this.find();
    }
  }

  /** Asks again for what is found from the files, which are behind the events; in the beginning until there is something. */
  private find(): void {
    if (this.isFinding) return;
    this.isFinding = true;
    // A refusal is of no weight: the stream tells when the server is gone.
    const done = () => {
      this.isFinding = false;
      if (!this.trace.hasFindings && this.state.peek() !== "ended") this.after(FIND_AGAIN_MS, () => this.find());
    };
    this.trace.refreshFindings().then(done, done);
  }

  private keep(steps: readonly LiveStep[]): void {
    this.log.push(...steps);
    let bytes = 0;
    let first = this.log.length;
    while (first > 0 && this.log.length - first < KEPT_STEPS && bytes < KEPT_BYTES) {
      first -= 1;
      bytes += this.log[first].logBeta.byteLength + this.log[first].evicted.byteLength;
    }
    this.log = this.log.slice(first);
  }

  /** Something has arrived that may be older than steps already heard. */
  private replay(): void {
    if (this.log.length === 0) return;
    let gap = false;
    batch(() => {
      for (const step of this.log) gap = applyStep(this.trace, step) === "gap" || gap;
    });
    if (gap) this.resync("gap");
  }

  /** Asks for everything again, then for what happened since; again and again ever more rarely while that does not help. */
  private resync(because: "told" | "gap" | "failed"): void {
    if (this.isRefreshing || this.calledOff || this.state.peek() === "ended") return;
    this.isRefreshing = true;
    this.stream?.close();
    this.stream = undefined;
    // All that is asked for now is at least as new as the facts, after which the stream begins again.
    this.log = [];
    this.arrived = [];
    if (because === "told") this.troubles = 0;
    else this.troubles += 1;
    if (because === "gap") this.state.value = "reconnecting";
    this.after(Math.min(LONGEST_WAIT_MS, WAIT_MS * 2 ** Math.max(0, this.troubles - 1)), () => {
      this.trace.refresh().then(
        () => {
          this.isRefreshing = false;
          this.failures = 0;
          if (isRunning(this.trace)) this.connect(this.trace.facts.manifest.seen ?? 0);
          else this.end(this.trace.facts.manifest.status ?? "complete");
        },
        () => {
          this.isRefreshing = false;
          this.failures += 1;
          this.state.value = this.failures >= TRIES ? "gone" : "reconnecting";
          this.resync("failed");
        },
      );
    });
  }

  private ended({ status }: { status: string; seen: number }): void {
    // What the last steps would ask for is asked for below, when it is final.
    this.isFinding = true;
    this.apply();
    this.end(status);
    // The files are final now, with what only a finished run has: roles, checks, the survivors' scores.
    this.trace.refresh().catch(() => {});
  }

  private end(status: string): void {
    this.stream?.close();
    this.stream = undefined;
    batch(() => {
      this.outcome.value = status;
      this.state.value = "ended";
    });
  }

  private after(ms: number, what: () => void): void {
    const callOff = this.options.later(() => {
      this.timers.delete(callOff);
      if (!this.calledOff) what();
    }, ms);
    this.timers.add(callOff);
  }
}
