// Which heads are meant: the finder's words to a test of a head, and the order of heads.
import type { HeadScores } from "../data/model";

/** Every role the analysis gives: a search for one that no head has finds none, and is no mistake. */
export const ROLES = ["sink", "window", "double window", "gist", "content", "selector", "front-loaded", "frozen", "mixed", "not enough evidence"] as const;

/** A head by place; its scores where the analysis has given them. */
export interface HeadAt {
  layer: number;
  head: number;
  scores?: HeadScores | undefined;
}

export type Test = (head: HeadAt) => boolean;

const COMPARE: Record<string, (a: number, b: number) => boolean> = {
  ">": (a, b) => a > b,
  "<": (a, b) => a < b,
  ">=": (a, b) => a >= b,
  "<=": (a, b) => a <= b,
  "=": (a, b) => a === b,
};

/** Short names of scores, as people type them. */
const SHORT: Record<string, string> = { window: "window_width", "half-life": "median_half_life", halflife: "median_half_life", lifetime: "mean_lifetime", sink: "sink_survival" };

/** A score of a head as a number; undefined where there is none. */
export function scoreOf(head: HeadAt, name: string): number | undefined {
  if (name === "layer") return head.layer;
  if (name === "head") return head.head;
  const value = head.scores?.[name];
  return typeof value === "number" ? value : undefined;
}

/** Names of the scores that can be compared, in the order the analysis gives them. */
export function scoreNames(heads: readonly HeadScores[]): string[] {
  const found = new Set<string>();
  for (const head of heads) {
    for (const [name, value] of Object.entries(head)) if (typeof value === "number" && name !== "layer" && name !== "head") found.add(name);
  }
  return [...found];
}

/**
 * Reads what was typed: terms that must all hold. `sinks` (a role, also in the plural), `layer 12`, `head 3`, `L12H3`,
 * `window > 200` (a score). An error says which term makes no sense.
 */
export function readFind(typed: string, roles: readonly string[], scores: readonly string[]): { test: Test } | { error: string } {
  const tests: Test[] = [];
  let rest = typed.trim().toLowerCase();
  while (rest !== "") {
    const comparison = /^([a-z_0-9-]+)\s*(>=|<=|>|<|=)\s*(-?[\d.]+(?:e-?\d+)?)\b/.exec(rest);
    const place = /^(?:(layer|head)\s+(\d+)|l(\d+)(?:h(\d+))?|h(\d+))\b/.exec(rest);
    const role = [...roles].sort((a, b) => b.length - a.length).find((name) => rest.startsWith(name));
    let taken: number;
    if (comparison) {
      const name = SHORT[comparison[1]] ?? comparison[1].replaceAll("-", "_");
      if (!scores.includes(name) && name !== "layer" && name !== "head") return { error: `no score is called ${comparison[1]}` };
      const compare = COMPARE[comparison[2]];
      const limit = Number(comparison[3]);
      tests.push((head) => {
        const score = scoreOf(head, name);
        return score !== undefined && compare(score, limit);
      });
      taken = comparison[0].length;
    } else if (place) {
      const layer = place[1] === "layer" ? place[2] : place[3];
      const number = place[1] === "head" ? place[2] : (place[4] ?? place[5]);
      if (layer !== undefined) tests.push((head) => head.layer === Number(layer));
      if (number !== undefined) tests.push((head) => head.head === Number(number));
      taken = place[0].length;
    } else if (role) {
      tests.push(({ scores }) => scores?.role === role || (scores?.also ?? []).includes(role));
      taken = role.length + (rest[role.length] === "s" ? 1 : 0);
    } else {
      return { error: `"${rest.split(/\s/)[0]}" is no role, no place (layer 3, head 1, L3H1) and no comparison (window > 200)` };
    }
    rest = rest.slice(taken).replace(/^[\s,;]+/, "");
  }
  return { test: (head) => tests.every((test) => test(head)) };
}

/** Heads by a score, the highest first, those without it last; by place for "place". */
export function inOrder(heads: readonly HeadAt[], sort: string): HeadAt[] {
  if (sort === "place") return [...heads];
  const score = (head: HeadAt) => scoreOf(head, sort) ?? -Infinity;
  return [...heads].sort((a, b) => score(b) - score(a) || a.layer - b.layer || a.head - b.head);
}
