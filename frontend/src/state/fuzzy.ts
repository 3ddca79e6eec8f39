// How well a text fits what was typed: as it stands there before its words, and those before all of its letters in order.

export interface Fit {
  score: number;
  /** Where the letters are in the text. */
  at: number[];
}

/** Undefined when the text does not hold all letters, in order. Spaces in what was typed are ignored. */
export function fit(typed: string, text: string): Fit | undefined {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = words.join("");
  const lower = text.toLowerCase();
  if (wanted === "") return { score: 0, at: [] };
  return fitWords(words, lower) ?? fitLetters(wanted, lower);
}

/** Worth more than any letters that only happen to be in order. */
const AS_IT_STANDS = 20;
const WORDS_IN_ORDER = 10;
const WHOLE_WORD = 2;

/** The words as they were typed, one after the other: "layer 3" is in "Layer 3 head 0" as it stands, in "Layer 0 head 3" in order. */
function fitWords(words: readonly string[], lower: string): Fit | undefined {
  const phrase = words.join(" ");
  const start = placeOf(phrase, lower, 0);
  const starts = start >= 0 ? [start] : [];
  if (start < 0) {
    let from = 0;
    for (const word of words) {
      const at = placeOf(word, lower, from);
      if (at < 0) return undefined;
      starts.push(at);
      from = at + word.length;
    }
  }
  const parts = start >= 0 ? [phrase] : words;
  const at = parts.flatMap((part, index) => [...part].flatMap((_, letter) => (part[letter] === " " ? [] : [starts[index] + letter])));
  const whole = parts.filter((part, index) => isWhole(lower, starts[index], part.length)).length;
  // Words far apart say less than words side by side.
  const gap = at[at.length - 1] - at[0] + 1 - phrase.length;
  const score = (start >= 0 ? AS_IT_STANDS : WORDS_IN_ORDER) + (WHOLE_WORD * whole) / parts.length - 0.05 * gap - 0.01 * lower.length - 0.02 * at[0];
  return { score, at };
}

/** Where a part is in the text from a place on: as whole words, else at the start of one, else anywhere; -1: nowhere. */
function placeOf(part: string, lower: string, from: number): number {
  let atStart = -1;
  const first = lower.indexOf(part, from);
  for (let at = first; at >= 0; at = lower.indexOf(part, at + 1)) {
    if (isWhole(lower, at, part.length)) return at;
    if (atStart < 0 && isWordStart(lower, at)) atStart = at;
  }
  return atStart >= 0 ? atStart : first;
}

function isWhole(lower: string, at: number, length: number): boolean {
  return isWordStart(lower, at) && !/[\p{L}\p{N}]/u.test(lower[at + length] ?? " ");
}

function isWordStart(lower: string, at: number): boolean {
  return at === 0 || !/[\p{L}\p{N}]/u.test(lower[at - 1]);
}

function fitLetters(wanted: string, lower: string): Fit | undefined {
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
  // Letters strewn over a long text are there by chance.
  score -= 0.05 * (from - at[0] - wanted.length);
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
    if (isWordStart(lower, at)) return at;
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
