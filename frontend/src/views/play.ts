// Playing a run: "now" moves on by so many tokens a second.
import { signal } from "@preact/signals";
import type { Trace } from "../data/trace";
import { seeNow } from "../state/now";
import { show, view } from "../state/view";

/** Tokens per second that can be chosen. */
export const SPEEDS: readonly number[] = [2, 8, 32, 128, 512, 2048, 8192];
/** A run is played in about this many seconds unless a speed is chosen. */
const WHOLE_RUN_SECS = 20;

/** The lowest speed that plays a run of so many tokens in reasonable time. */
export function speedFor(tokens: number): number {
  return SPEEDS.find((speed) => tokens / speed <= WHOLE_RUN_SECS) ?? SPEEDS[SPEEDS.length - 1];
}

/** Where "now" is after `ms` more; null: at the last token. */
export function movedOn(position: number, ms: number, speed: number, last: number): number | null {
  const next = position + (ms * speed) / 1000;
  return next >= last ? null : next;
}

export class Player {
  readonly isPlaying = signal(false);
  /** Null: chosen by the run's length. */
  readonly chosenSpeed = signal<number | null>(null);
  private frame = 0;

  constructor(private readonly trace: Trace) {}

  get speed(): number {
    return this.chosenSpeed.value ?? speedFor(this.trace.seen.value);
  }

  toggle(): void {
    if (this.isPlaying.peek()) this.stop();
    else this.start();
  }

  /** From "now", or from the start when that is the end. */
  start(): void {
    if (this.trace.seen.peek() < 2) return;
    let position = view.peek().now ?? 0;
    let shown: number | null = Math.floor(position);
    let before: number | undefined;
    show({ now: shown });
    seeNow();
    this.isPlaying.value = true;
    const turn = (time: number) => {
      const { now } = view.peek();
      // Somebody moved it by hand: go on from there.
      if (now !== shown) position = now ?? this.trace.seen.peek() - 1;
      const moved = movedOn(position, before === undefined ? 0 : time - before, this.speed, this.trace.seen.peek() - 1);
      before = time;
      shown = moved === null ? null : Math.floor(moved);
      show({ now: shown });
      if (moved === null) return this.stop();
      position = moved;
      this.frame = requestAnimationFrame(turn);
    };
    this.frame = requestAnimationFrame(turn);
  }

  stop(): void {
    cancelAnimationFrame(this.frame);
    this.isPlaying.value = false;
  }
}
