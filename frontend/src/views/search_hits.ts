// Finds places in the text bit by bit, so that whoever asks can stop between two bits.
import type { Tokens } from "../data/model";

/** Hits kept; more than anybody steps through. */
export const MOST_HITS = 100_000;

/** A text whose tokens can be found by place. */
export class Haystack {
  readonly text: string;
  /** Where tokens start in the text, in UTF-16 units; one more for its end. */
  private readonly starts: Uint32Array;

  constructor({ text, count }: Pick<Tokens, "text" | "count">) {
    this.text = text.slice(0, count).join("");
    this.starts = new Uint32Array(count + 1);
    for (let at = 0; at < count; at++) this.starts[at + 1] = this.starts[at] + text[at].length;
  }

  get count(): number {
    return this.starts.length - 1;
  }

  /** The token that holds a unit of the text; of those that start there, the last, as the others are empty. */
  tokenAt(unit: number): number {
    let [low, high] = [0, this.starts.length - 2];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= unit) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Hits in order: each from its first token to its last. */
export class Hits {
  readonly first: number[] = [];
  readonly last: number[] = [];

  get count(): number {
    return this.first.length;
  }

  get isFull(): boolean {
    return this.count >= MOST_HITS;
  }

  /** Adds a place; two matches in the same tokens are one. */
  add(first: number, last: number): void {
    const before = this.count - 1;
    if (this.isFull || (before >= 0 && this.first[before] === first && this.last[before] === last)) return;
    this.first.push(first);
    this.last.push(last);
  }

  /** The first hit that starts at a token or after it. */
  from(position: number): number {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.first[middle] >= position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The hit that a token is part of; of two that meet in it, the later. */
  holding(position: number): number | undefined {
    const before = this.from(position + 1) - 1;
    return before >= 0 && this.last[before] >= position ? before : undefined;
  }
}

/** Where a pattern matches, as units of the text; a match of nothing is none. Yields after each. */
export function* matchesOf(pattern: RegExp, text: string): Generator<[start: number, end: number]> {
  const seeker = new RegExp(pattern.source, pattern.flags);
  for (let found = seeker.exec(text); found; found = seeker.exec(text)) {
    const end = found.index + found[0].length;
    if (end > found.index) yield [found.index, end];
    else seeker.lastIndex = end + (seeker.unicode && (text.codePointAt(end) ?? 0) > 0xffff ? 2 : 1);
  }
}
