// The text on the page: only the blocks near what is seen, in the text's order, each where its measured height puts it.
import { type Signal, signal } from "@preact/signals";
import { Virtualizer, elementScroll, observeElementOffset, observeElementRect } from "@tanstack/virtual-core";
import type { Tokens } from "../data/model";
import { ProseBlock } from "./prose_block";
import { Blocks } from "./prose_blocks";
import type { Ink } from "./prose_ink";
import { Jump } from "./prose_jump";

/** Height of a line in CSS pixels; the style's `--line`. */
const LINE = 25;

/** What every token looks like; asked for the tokens that are on the page. */
export interface Look {
  inkOf(position: number): Ink;
  /** Colours of a bar's steps. */
  bars: readonly string[];
  hitAt(position: number): string | undefined;
  /** Query position where what comes after is not born; null: the last. */
  now: number | null;
}

export class ProseView {
  private readonly blocks = new Blocks();
  private readonly built = new Map<number, ProseBlock>();
  private readonly virtual: Virtualizer<HTMLElement, HTMLElement>;
  private readonly unmount: () => void;
  private readonly resizes: ResizeObserver;
  private width = 0;
  private frame = 0;
  private readonly jump: Jump;
  private marked: { hovered?: number | null; pinned?: number | null } = {};
  /** The token that Tab comes to; its block stays on the page. */
  private roving = 0;
  /** Blocks that stay while they are needed: a selection's ends, a jump's aim. */
  private held: readonly number[] = [];
  /** Whether "now" stays in sight: until the reader scrolls by hand, or looks for something else. */
  readonly isFollowing: Signal<boolean> = signal(true);
  /** What that is; undefined: a finished run, whose reader starts where they like. */
  private now: number | "end" | undefined;
  private isGrowing = false;
  private top = 0;

  constructor(
    private readonly scroller: HTMLElement,
    private readonly space: HTMLElement,
    private tokens: Tokens,
    private readonly textKnown: boolean,
    private look: Look,
  ) {
    this.jump = new Jump(scroller);
    this.blocks.follow(tokens);
    this.width = space.clientWidth;
    // Before the virtualizer's own: what it brings into sight must not pull a reader back who scrolls away from the end.
    scroller.addEventListener("scroll", this.scrolled, { passive: true });
    this.virtual = new Virtualizer(this.options());
    this.unmount = this.virtual._didMount();
    this.virtual._willUpdate();
    this.resizes = new ResizeObserver(() => this.resized());
    this.resizes.observe(space);
    this.sync();
  }

  dispose(): void {
    cancelAnimationFrame(this.frame);
    this.jump.stop();
    this.scroller.removeEventListener("scroll", this.scrolled);
    this.resizes.disconnect();
    this.unmount();
    this.space.replaceChildren();
  }

  /** Takes in tokens that came since. */
  grow(tokens: Tokens): void {
    this.isGrowing = true;
    this.tokens = tokens;
    this.blocks.follow(tokens);
    this.virtual.setOptions(this.options());
    this.virtual._willUpdate();
    this.sync();
  }

  /** Changes how tokens look. */
  wear(look: Look): void {
    const nowMoved = look.now !== this.look.now;
    this.look = look;
    for (const block of this.built.values()) {
      this.dress(block);
      if (nowMoved) block.forgetLines();
    }
    if (nowMoved) this.soon();
  }

  /** Marks the token under the pointer and the pinned one. */
  mark(mark: "hovered" | "pinned", position: number | null): void {
    const before = this.marked[mark];
    this.marked[mark] = position;
    if (before !== null && before !== undefined) this.blockOf(before)?.markOne(mark, before, undefined);
    if (position !== null) this.blockOf(position)?.markOne(mark, position, "");
  }

  /** Says where "now" is, and brings it into sight where the reader follows it. */
  setNow(now: number | "end" | undefined): void {
    this.now = now;
    this.seeNow();
  }

  /** Follows "now" from here on. */
  follow(): void {
    this.isFollowing.value = true;
    this.seeNow();
  }

  private seeNow(): void {
    if (!this.isFollowing.peek() || this.now === undefined || this.tokens.count === 0) return;
    if (this.now === "end") {
      this.jump.stop();
      this.sync();
    } else this.bring(Math.min(this.now, this.tokens.count - 1));
  }

  /** Scrolls until a token is in sight, exactly, however the heights before it turn out; what was followed no longer is. */
  reveal(position: number): void {
    this.isFollowing.value = false;
    this.bring(position);
  }

  private bring(position: number): void {
    const index = this.blocks.indexOf(Math.min(position, this.tokens.count - 1));
    if (!this.held.includes(index)) this.hold([index]);
    const span = () => {
      const block = this.built.get(index);
      return block?.holds(position) ? block.span(position) : undefined;
    };
    this.jump.to(span, () => this.hold([]));
  }

  /** The reader scrolls: nothing else may. */
  letGo(): void {
    this.jump.stop();
    this.isFollowing.value = false;
  }

  /** Gives the focus to a token and brings it into sight. */
  focus(position: number): void {
    this.reveal(position);
    this.focusInPlace(position);
  }

  /** Gives the focus to a token, wherever it is. */
  focusInPlace(position: number): void {
    this.rove(position);
    this.blockOf(position)?.span(position).focus({ preventScroll: true });
  }

  /** Makes a token the one that Tab comes to. */
  rove(position: number): void {
    const before = this.blockOf(this.roving);
    if (before) bare(before.span(this.roving));
    this.roving = position;
    this.refresh();
    this.offerRoving();
  }

  get rovingToken(): number {
    return this.roving;
  }

  /** The token a line up or down from one. */
  vertical(position: number, by: -1 | 1): number | undefined {
    const block = this.blockOf(position);
    if (!block) return undefined;
    const within = block.above(position, by);
    if (within !== undefined) return within;
    const next = block.index + by;
    if (next < 0 || next >= this.blocks.count) return undefined;
    this.hold([next]);
    return this.built.get(next)?.edge(block.left(position), by < 0 ? "last" : "first");
  }

  /** The first token in sight. */
  get firstSeen(): number {
    const top = this.scroller.getBoundingClientRect().top;
    for (const block of this.inOrder()) {
      if (block.element.getBoundingClientRect().bottom < top) continue;
      for (let position = block.block.from; position < block.block.to; position++) {
        if (block.span(position).getBoundingClientRect().bottom > top) return position;
      }
    }
    return 0;
  }

  /** Selects the whole text: its first and last block are enough, a copy fills in what is between. */
  selectAll(): void {
    this.hold([0, this.blocks.count - 1]);
    const [first, last] = [this.built.get(0), this.built.get(this.blocks.count - 1)];
    if (first && last) getSelection()?.setBaseAndExtent(first.span(0), 0, last.element.lastElementChild ?? last.element, last.block.to - last.block.from);
  }

  /** Keeps the ends of a selection on the page, wherever it is scrolled to. */
  holdSelection(): void {
    const selection = getSelection();
    const ends = selection && !selection.isCollapsed ? [selection.anchorNode, selection.focusNode] : [];
    const indices = [...this.built.values()].filter(({ element }) => ends.some((end) => element.contains(end))).map(({ index }) => index);
    if (indices.join() !== this.held.join()) this.hold(indices);
  }

  /** Does something that moves lines, and leaves the reader at the same token. */
  keepPlace(change: () => void): void {
    const position = this.firstSeen;
    change();
    this.measureAgain();
    if (this.isFollowing.peek() && this.now !== undefined) this.seeNow();
    else if (this.scroller.scrollTop > 0) this.bring(position);
  }

  private options() {
    return {
      count: this.blocks.count,
      getScrollElement: () => this.scroller,
      estimateSize: (index: number) => LINE * this.blocks.lines(index, this.unitsPerLine()),
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      overscan: 2,
      onChange: () => this.sync(),
      rangeExtractor: ({ startIndex, endIndex, overscan, count }: { startIndex: number; endIndex: number; overscan: number; count: number }) => {
        const wanted = new Set<number>([this.blocks.indexOf(this.roving), ...this.held.filter((index) => index < count)]);
        for (let index = Math.max(0, startIndex - overscan); index <= Math.min(count - 1, endIndex + overscan); index++) wanted.add(index);
        return [...wanted].sort((a, b) => a - b);
      },
    };
  }

  /** A guess from the width; only heights of what was never on the page hang on it. */
  private unitsPerLine(): number {
    return Math.max(20, (this.width - 130) / 8);
  }

  private hold(indices: readonly number[]): void {
    this.held = indices;
    this.refresh();
  }

  /** A new extractor makes the range be asked for again. */
  private refresh(): void {
    this.virtual.setOptions(this.options());
    this.sync();
  }

  private blockOf(position: number): ProseBlock | undefined {
    return this.built.get(this.blocks.indexOf(position));
  }

  private inOrder(): ProseBlock[] {
    return [...this.built.values()].sort((a, b) => a.index - b.index);
  }

  /** Builds what came into sight, drops what went, and puts each where it belongs. */
  private sync(): void {
    if (!this.virtual) return;
    const items = this.virtual.getVirtualItems();
    const wanted = new Set(items.map(({ index }) => index));
    for (const [index, block] of this.built) {
      const { from, to } = this.blocks.at(index);
      const isCurrent = wanted.has(index) && block.block.from === from && block.block.to === to;
      if (isCurrent) continue;
      block.element.remove();
      this.built.delete(index);
    }
    let after: ChildNode | null = this.space.firstChild;
    const fresh: ProseBlock[] = [];
    for (const { index, start } of items) {
      let block = this.built.get(index);
      if (!block) {
        block = new ProseBlock(index, this.blocks.at(index), this.tokens, this.textKnown);
        this.built.set(index, block);
        this.dress(block);
        for (const mark of ["hovered", "pinned"] as const) {
          const position = this.marked[mark];
          if (position !== null && position !== undefined) block.markOne(mark, position, "");
        }
        fresh.push(block);
      }
      // The order in the page is the text's, so that a selection runs on.
      if (block.element === after) after = after.nextSibling;
      else this.space.insertBefore(block.element, after);
      block.element.style.transform = `translateY(${start}px)`;
    }
    this.space.style.height = `${this.virtual.getTotalSize()}px`;
    if (this.now === "end" && this.isFollowing.peek()) this.scroller.scrollTop = this.scroller.scrollHeight;
    if (fresh.length === 0) return;
    this.offerRoving();
    for (const block of fresh) this.virtual.measureElement(block.element);
    this.soon();
  }

  private dress(block: ProseBlock): void {
    const { inkOf, bars, hitAt, now } = this.look;
    block.ink(inkOf, bars);
    block.mark("hit", hitAt);
    block.mark("now", (position) => (now !== null && position === now + 1 ? "" : undefined));
  }

  /** Finds the lines of what is new, in the next frame, all reads before all writes. */
  private soon(): void {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const writes = [...this.built.values()].map((block) => block.lines(this.look.now));
      for (const write of writes) write?.();
    });
  }

  private isAtEnd(): boolean {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollTop + clientHeight > scrollHeight - 2 * LINE;
  }

  /** Who scrolls down to the end of a run in progress stays there. */
  private readonly scrolled = (): void => {
    const { scrollTop } = this.scroller;
    if (scrollTop > this.top && this.isGrowing && this.now === "end" && this.isAtEnd()) this.isFollowing.value = true;
    this.top = scrollTop;
  };

  private resized(): void {
    const { clientWidth } = this.space;
    if (clientWidth === this.width) return;
    this.width = clientWidth;
    this.measureAgain();
  }

  private measureAgain(): void {
    for (const block of this.built.values()) block.forgetLines();
    this.virtual.measure();
    for (const block of this.built.values()) this.virtual.resizeItem(block.index, block.element.offsetHeight);
    this.sync();
    this.soon();
    this.seeNow();
  }

  private offerRoving(): void {
    const block = this.blockOf(this.roving);
    if (!block?.holds(this.roving)) return;
    const span = block.span(this.roving);
    span.tabIndex = 0;
    span.setAttribute("role", "button");
    span.setAttribute("aria-label", `token ${this.roving}: ${this.tokens.text[this.roving].trim() || "no visible text"}`);
  }
}

function bare(span: HTMLElement): void {
  span.removeAttribute("tabindex");
  span.removeAttribute("role");
  span.removeAttribute("aria-label");
}
