// How well a text fits what was typed: all of its letters in order, better at starts of words and side by side.

export interface Fit {
  score: number;
  /** Where the letters are in the text. */
  at: number[];
}

/** Undefined when the text does not hold all letters, in order. Spaces in what was typed are ignored. */
export function fit(typed: string, text: string): Fit | undefined {
  const wanted = typed.toLowerCase().replace(/\s+/g, "");
  const lower = text.toLowerCase();
  if (wanted === "") return { score: 0, at: [] };
  let best: Fit | undefined;
  // The first letter may stand in several places; each gives one greedy fit.
  for (let start = lower.indexOf(wanted[0]); start >= 0; start = lower.indexOf(wanted[0], start + 1)) {
    const found = fitFrom(wanted, lower, start);
    if (!found) break;
    if (!best || found.score > best.score) best = found;
  }
  return best;
}

function fitFrom(wanted: string, lower: string, start: number): Fit | undefined {
  const at: number[] = [];
  let score = -0.01 * lower.length - 0.02 * start;
  let from = start;
  for (const letter of wanted) {
    const next = lower.indexOf(letter, from);
    if (next < 0) return undefined;
    // A later start of a word is worth a jump, unless this letter goes on where the last one was, or the rest is not after it.
    const isNext = at.length > 0 && next === at[at.length - 1] + 1;
    const word = isNext ? undefined : startOfWord(lower, letter, next);
    const atWord = word !== undefined && holds(wanted.slice(at.length + 1), lower, word + 1) ? word : undefined;
    const place = atWord ?? next;
    score += isNext ? 2 : atWord !== undefined ? 1.5 : 0.2;
    at.push(place);
    from = place + 1;
  }
  return { score, at };
}

/** Whether the letters occur in order from a place on. */
function holds(letters: string, lower: string, from: number): boolean {
  let at = from;
  for (const letter of letters) {
    at = lower.indexOf(letter, at) + 1;
    if (at === 0) return false;
  }
  return true;
}

function startOfWord(lower: string, letter: string, from: number): number | undefined {
  for (let at = lower.indexOf(letter, from); at >= 0; at = lower.indexOf(letter, at + 1)) {
    if (at === 0 || !/[a-z0-9]/.test(lower[at - 1])) return at;
  }
  return undefined;
}

/** Things whose text fits, the best first, equals in the order given. */
export function fitting<T>(typed: string, things: readonly T[], text: (thing: T) => string): { thing: T; fit: Fit }[] {
  const found = things.flatMap((thing) => {
    const how = fit(typed, text(thing));
    return how ? [{ thing, fit: how }] : [];
  });
  return typed.trim() === "" ? found : found.sort((a, b) => b.fit.score - a.fit.score);
}
