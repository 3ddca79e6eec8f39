// What is typed into the search, as something that can be looked for.
import type { Tokens } from "../data/model";

/** What to look for. */
export type Wanted =
  | { kind: "nothing" }
  /** In the text; may reach over tokens. `isTrusted`: cannot run for long, whatever the text. */
  | { kind: "pattern"; pattern: RegExp; isTrusted: boolean }
  /** Single tokens. */
  | { kind: "tokens"; matches(position: number): boolean }
  | { kind: "error"; why: string };

/**
 * Reads a search. `class:digit`, `id:1234` and `at:1234` mean tokens of a class, of an id, at a position; `/…/flags` a
 * regular expression; anything else is text, in which upper and lower case are the same unless an upper-case letter is in it.
 */
export function readSearch(typed: string, tokens: Pick<Tokens, "classNames" | "class" | "tokenId">): Wanted {
  if (typed === "") return { kind: "nothing" };
  const term = /^(class|id|at):\s*(.*)$/is.exec(typed);
  if (term) return readTerm(term[1].toLowerCase(), term[2].trim(), tokens);
  const regex = /^\/(.+)\/([a-z]*)$/is.exec(typed);
  if (regex) return readRegex(regex[1], regex[2]);
  const literal = typed.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return { kind: "pattern", pattern: new RegExp(literal, typed === typed.toLowerCase() ? "giu" : "gu"), isTrusted: true };
}

function readTerm(term: string, value: string, tokens: Pick<Tokens, "classNames" | "class" | "tokenId">): Wanted {
  if (term === "class") {
    const code = tokens.classNames.indexOf(value.toLowerCase());
    if (code < 0) return { kind: "error", why: `no class is called "${value}"; there are ${tokens.classNames.join(", ")}` };
    return { kind: "tokens", matches: (position) => tokens.class[position] === code };
  }
  if (!/^\d+$/.test(value)) return { kind: "error", why: `after ${term}: a number is needed` };
  const wanted = Number(value);
  return { kind: "tokens", matches: term === "id" ? (position) => tokens.tokenId[position] === wanted : (position) => position === wanted };
}

function readRegex(source: string, flags: string): Wanted {
  try {
    return { kind: "pattern", pattern: new RegExp(source, flags.includes("g") ? flags : `${flags}g`), isTrusted: false };
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^Invalid regular expression: /, "") : String(error);
    return { kind: "error", why: `not a regular expression: ${why}` };
  }
}
