// Reads all layers of a trace, one after the other, for who keeps what; started by the first view that needs it.
import { type ReadonlySignal, effect, signal } from "@preact/signals";
import { Keepers, packedLives, sharedLives } from "./keepers";
import { here, type Trace } from "./trace";

export interface KeepersState {
  keepers: Keepers;
  /** Layers here; views that read `keepers` read this too. */
  counted: number;
  /** Why no more will come. */
  why?: string | undefined;
  /** Tokens the layers that are here tell of; later queries are not known of. */
  seen: number;
}

const readers = new WeakMap<Trace, KeepersReader>();

class KeepersReader {
  readonly keepers: Keepers;
  readonly state;
  private started = false;

  constructor(private readonly trace: Trace) {
    this.keepers = new Keepers(trace.layers, trace.kvHeads);
    this.state = signal<KeepersState>({ keepers: this.keepers, counted: 0, seen: Infinity });
  }

  start(): void {
    if (this.started) return;
    this.started = true;
    // A short trace's layers are on the page anyway; of a long one only what left when is kept.
    if (this.trace.overviewPool === 1) this.share();
    else void this.pack();
  }

  private share(): void {
    for (let layer = 0; layer < this.trace.layers; layer++) {
      const answer = this.trace.layer(layer);
      // A run in progress may have to fetch its layers again.
      effect(() => {
        const columns = here(answer);
        if (columns) {
          this.keepers.add(layer, sharedLives(columns));
          this.state.value = { ...this.state.peek(), counted: this.keepers.counted };
        } else if (answer.value.state === "failed") {
          this.state.value = { ...this.state.peek(), why: answer.value.why };
        }
      });
    }
  }

  private async pack(): Promise<void> {
    try {
      for (let layer = 0; layer < this.trace.layers; layer++) {
        const lives = packedLives(await this.trace.source.lifetimes(layer, 1));
        this.keepers.add(layer, lives);
        const { seen } = this.state.peek();
        this.state.value = { keepers: this.keepers, counted: this.keepers.counted, seen: Math.min(seen, lives.seen) };
        // Leaves the page a frame between layers.
        await new Promise((resume) => setTimeout(resume, 0));
      }
    } catch (error) {
      this.state.value = { ...this.state.peek(), why: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** Who keeps what in a trace. Reading begins when `ask` is true for the first time. */
export function keepersOf(trace: Trace, ask: boolean): ReadonlySignal<KeepersState> {
  let reader = readers.get(trace);
  if (!reader) readers.set(trace, (reader = new KeepersReader(trace)));
  if (ask) reader.start();
  return reader.state;
}
