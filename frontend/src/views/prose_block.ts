// One block of prose in the page: a span for each token, and a margin that says where its lines start.
import type { Tokens } from "../data/model";
import { BAR_STEPS, type Ink, barStep } from "./prose_ink";
import { type Block, isUnseen, partStarting } from "./prose_blocks";

/** Marks besides the ink; an attribute each, so that one can change without the others. */
export type Mark = "hit" | "pinned" | "hovered" | "now";

export class ProseBlock {
  readonly element = document.createElement("div");
  private readonly margin = document.createElement("div");
  private readonly spans: HTMLElement[] = [];
  /** Step of the bar that each span shows; -1: none. */
  private readonly steps: Int8Array;
  /** Width at which the lines were last found; they move when it changes. */
  private linesAt = 0;

  constructor(
    readonly index: number,
    readonly block: Block,
    private readonly tokens: Tokens,
    /** Whether the trace knows its text; else ids stand for it. */
    textKnown: boolean,
  ) {
    this.element.className = "prose-block";
    this.element.dataset.index = String(index);
    this.margin.className = "prose-margin";
    this.margin.ariaHidden = "true";
    const text = document.createElement("p");
    for (let position = block.from; position < block.to; position++) {
      const span = spanOf(position, tokens, textKnown);
      this.spans.push(span);
      text.append(span);
    }
    this.steps = new Int8Array(this.spans.length).fill(-1);
    this.element.append(this.margin, text);
  }

  holds(position: number): boolean {
    return position >= this.block.from && position < this.block.to;
  }

  span(position: number): HTMLElement {
    return this.spans[position - this.block.from];
  }

  /** Gives every token its ink; `colours` are those of the bar's steps. */
  ink(inkOf: (position: number) => Ink, colours: readonly string[]): void {
    this.spans.forEach((span, at) => {
      const { state, share } = inkOf(this.block.from + at);
      if (span.dataset.ink !== state) span.dataset.ink = state;
      const step = share === undefined ? -1 : barStep(share);
      if (step >= 0) span.style.setProperty("--bar", colours[step]);
      if (step === this.steps[at]) return;
      this.steps[at] = step;
      span.toggleAttribute("data-bar", step >= 0);
      if (step >= 0) span.style.setProperty("--high", `${(2 + (5 * step) / BAR_STEPS).toFixed(1)}px`);
    });
  }

  mark(mark: Mark, valueAt: (position: number) => string | undefined): void {
    this.spans.forEach((span, at) => setMark(span, mark, valueAt(this.block.from + at)));
  }

  markOne(mark: Mark, position: number, value: string | undefined): void {
    if (this.holds(position)) setMark(this.span(position), mark, value);
  }

  /** Finds where lines start. Reads the page's layout; `null` when nothing has moved since. */
  lines(now: number | null): (() => void) | null {
    const width = this.element.clientWidth;
    const key = width + (now !== null && this.holds(now + 1) ? (now + 1) / 2 ** 20 : 0);
    if (width === 0 || key === this.linesAt) return null;
    this.linesAt = key;
    const made: HTMLElement[] = [];
    const lines: HTMLElement[] = [];
    const tops: number[] = [];
    const first = this.spans[0].offsetTop;
    let said: HTMLElement | undefined;
    this.spans.forEach((span, at) => {
      const position = this.block.from + at;
      const offsetTop = span.offsetTop - first;
      if (tops.length === 0 || offsetTop > tops[tops.length - 1] + 4) {
        const line = note("line", String(position), offsetTop);
        line.dataset.origin = this.tokens.origin[position] === 0 ? "prompt" : "generated";
        lines.push(line);
        tops.push(offsetTop);
        said = undefined;
      }
      const words = [partStarting(this.tokens, position), now !== null && position === now + 1 ? "now" : undefined].filter(Boolean).join(", ");
      if (words === "") return;
      if (said) said.textContent += `, ${words}`;
      else made.push((said = note("part", words, offsetTop)));
    });
    // The rule runs on beside lines that one long token fills.
    tops.push(this.element.clientHeight);
    lines.forEach((line, at) => (line.style.height = `${Math.max(0, tops[at + 1] - tops[at])}px`));
    made.push(...lines);
    return () => this.margin.replaceChildren(...made);
  }

  /** Makes the next `lines` look again. */
  forgetLines(): void {
    this.linesAt = 0;
  }

  /** The token before or after on another line, nearest to where one is across. */
  above(position: number, by: -1 | 1): number | undefined {
    const from = this.span(position);
    return this.nearest(from.offsetLeft, by < 0 ? this.lineBefore(from.offsetTop) : this.lineAfter(from.offsetTop));
  }

  /** The nearest token of the first or last line. */
  edge(left: number, line: "first" | "last"): number | undefined {
    return this.nearest(left, line === "first" ? this.lineAfter(-Infinity) : this.lineBefore(Infinity));
  }

  left(position: number): number {
    return this.span(position).offsetLeft;
  }

  private lineBefore(top: number): number | undefined {
    for (let at = this.spans.length - 1; at >= 0; at--) if (this.spans[at].offsetTop < top - 4) return this.spans[at].offsetTop;
    return undefined;
  }

  private lineAfter(top: number): number | undefined {
    return this.spans.find((span) => span.offsetTop > top + 4)?.offsetTop;
  }

  private nearest(left: number, top: number | undefined): number | undefined {
    if (top === undefined) return undefined;
    let best: number | undefined;
    let least = Infinity;
    this.spans.forEach((span, at) => {
      if (Math.abs(span.offsetTop - top) > 4) return;
      const far = Math.abs(span.offsetLeft - left);
      if (far < least) [best, least] = [this.block.from + at, far];
    });
    return best;
  }
}

function setMark(span: HTMLElement, mark: Mark, value: string | undefined): void {
  const name = `data-${mark}`;
  if (value === undefined) span.removeAttribute(name);
  else if (span.getAttribute(name) !== value) span.setAttribute(name, value);
}

/** A token as text, exactly; signs for what cannot be seen are drawn by the style and are not part of it. */
function spanOf(position: number, { text, tokenId, origin }: Tokens, textKnown: boolean): HTMLElement {
  const span = document.createElement("span");
  span.dataset.position = String(position);
  // Where the model begins to write, also within a line.
  if (position > 0 && origin[position] !== origin[position - 1]) span.dataset.begins = "";
  const said = text[position];
  if (!textKnown) span.dataset.sign = `${tokenId[position]} `;
  else if (isUnseen(said)) span.dataset.sign = "∅";
  said.split("\n").forEach((line, at) => {
    if (at > 0) span.append(document.createElement("i"), "\n");
    if (line !== "") span.append(line);
  });
  return span;
}

function note(kind: string, text: string, top: number): HTMLElement {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  element.style.top = `${top}px`;
  return element;
}
