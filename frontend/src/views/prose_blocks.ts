// The text in blocks that can be built and measured one by one: where they start, and about how high they are.
import type { Tokens } from "../data/model";

/** Tokens after which a block ends at the next line end. */
const WANTED = 128;
/** Tokens after which it ends wherever it is. A soft break then, without the mark that real line ends carry. */
const MOST = 1024;

export interface Block {
  /** First token. */
  from: number;
  /** One past the last. */
  to: number;
}

/** Blocks of a text that may still grow. */
export class Blocks {
  /** First tokens of the blocks. */
  private readonly starts: number[] = [];
  /** UTF-16 units and line ends of each block. */
  private readonly units: number[] = [];
  private readonly ends: number[] = [];
  private tokens = 0;

  get count(): number {
    return this.starts.length;
  }

  /** Takes in the tokens from the last block on; the blocks before it stay as they are. */
  follow({ text, count }: Pick<Tokens, "text" | "count">): void {
    if (count < this.tokens) this.starts.length = this.units.length = this.ends.length = 0;
    let from = this.starts.pop() ?? 0;
    this.units.length = this.ends.length = this.starts.length;
    this.tokens = count;
    let [units, ends] = [0, 0];
    for (let at = from; at < count; at++) {
      const said = text[at];
      units += said.length;
      if (said.includes("\n")) ends += lineEnds(said);
      const length = at + 1 - from;
      if ((length >= WANTED && said.endsWith("\n")) || length === MOST || at + 1 === count) {
        this.starts.push(from);
        this.units.push(units);
        this.ends.push(ends);
        from = at + 1;
        units = ends = 0;
      }
    }
  }

  at(index: number): Block {
    return { from: this.starts[index], to: this.starts[index + 1] ?? this.tokens };
  }

  /** The block that holds a token. */
  indexOf(position: number): number {
    let [low, high] = [0, this.starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** About how many lines a block takes; what is drawn is measured. */
  lines(index: number, unitsPerLine: number): number {
    return Math.max(1, this.ends[index] + Math.ceil(this.units[index] / Math.max(1, unitsPerLine)) - (this.ends[index] > 0 ? 1 : 0));
  }
}

function lineEnds(text: string): number {
  let found = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) found += 1;
  return found;
}

/** Words at the left of the line where a part begins: whose text it is. Template tokens belong to nobody. */
export function partStarting(tokens: Tokens, position: number): string | undefined {
  const words: string[] = [];
  const { origin } = tokens;
  if (position === 0 || origin[position] !== origin[position - 1]) words.push(origin[position] === 0 ? "prompt" : "generated");
  const role = roleOf(tokens, position);
  if (role && role !== "template" && (position === 0 || role !== roleOf(tokens, position - 1))) words.push(role);
  return words.length > 0 ? words.join(", ") : undefined;
}

export function roleOf(tokens: Tokens, position: number): string | undefined {
  return tokens.roleNames[tokens.role[position]];
}

/** Whether a token would leave nothing to see or point at: empty, or all controls, marks and zero-width characters. */
export function isUnseen(text: string): boolean {
  return /^(?![\s\S]*[\n\t])[\p{Cc}\p{Cf}\p{Mn}\p{Zl}\p{Zp}]*$/u.test(text);
}
