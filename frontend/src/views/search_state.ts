// The search of a trace's text: what is found, and at which of it the reader is.
import { effect, signal } from "@preact/signals";
import type { Tokens } from "../data/model";
import { view } from "../state/view";
import { Haystack, Hits } from "./search_hits";
import { readSearch } from "./search_query";
import { type SearchState, startSearch } from "./search_run";

export class TextSearch {
  readonly found = signal<SearchState>({ hits: new Hits(), state: "nothing" });
  /** The hit that the reader stepped to; null: none yet. */
  readonly at = signal<number | null>(null);
  private haystack: Haystack | undefined;
  private stop = () => {};

  /** `pause`: milliseconds of quiet after a key before a search starts. */
  constructor(
    private readonly tokens: () => Tokens,
    private readonly pause = 120,
  ) {}

  /** Searches for what the view says, again whenever it changes, until the returned function is called. */
  follow(): () => void {
    let typed: string | undefined;
    const unwatch = effect(() => {
      const { search } = view.value;
      if (search === typed) return;
      const isFirst = typed === undefined;
      typed = search;
      this.stop();
      const timer = setTimeout(() => this.start(search), isFirst || search === "" ? 0 : this.pause);
      this.stop = () => clearTimeout(timer);
    });
    return () => {
      unwatch();
      this.stop();
    };
  }

  private start(search: string): void {
    this.at.value = null;
    const tokens = this.tokens();
    // A run in progress adds tokens.
    if (this.haystack?.count !== tokens.count) this.haystack = undefined;
    const haystack = () => (this.haystack ??= new Haystack(tokens));
    this.stop = startSearch(readSearch(search, tokens), haystack, (state) => (this.found.value = { ...state }));
  }

  /** Steps to the next hit or the one before, round the ends; from `position` when none was stepped to. Gives its first token. */
  step(by: -1 | 1, position: number): number | undefined {
    const { hits } = this.found.peek();
    if (hits.count === 0) return undefined;
    const at = this.at.peek();
    const next = at !== null ? at + by : by > 0 ? hits.from(position) : hits.from(position) - 1;
    this.at.value = (next + hits.count) % hits.count;
    return hits.first[this.at.value];
  }
}

/** What the search has to say, in a few words. */
export function searchInWords({ hits, state, why }: SearchState, at: number | null): string {
  if (state === "nothing") return "";
  if (state === "error") return why ?? "";
  const number = new Intl.NumberFormat("en-US");
  const all = number.format(hits.count);
  const found = at !== null ? `${number.format(at + 1)} of ${all}` : state === "looking" ? `${all} so far` : hits.count === 0 ? "not found" : `${all} found`;
  return state === "stopped" ? `${found}, ${why}` : found;
}
