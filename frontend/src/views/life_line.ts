// Why a token was evicted: its score as tokens are seen, against the lowest score that stayed at each of its head's cuts.
import { STILL_CACHED, halfLife } from "../base/cells";
import { count, number, plural } from "../base/format";
import type { LayerColumns } from "../data/columns";
import type { Manifest } from "../data/model";
import { type HeadCuts, cutAt } from "./life_line_cuts";

/** How a policy's score of a token follows from what the trace has. See backend/policy and docs/trace-format.md. */
export type ScoreRule =
  /** log_beta x (tokens seen + ageOffset - position), in nats; with `plusConstant` and something fixed at birth (the key's norm). */
  | { kind: "retention"; ageOffset: number; lookAhead: number; plusConstant: boolean }
  /** The token's position. */
  | { kind: "position" }
  /** A number drawn at birth. */
  | { kind: "fixed" }
  /** Only recorded scores are known. */
  | { kind: "recorded"; why: string };

export function scoreRule(policy: Manifest["policy"], gatesKnown: boolean): ScoreRule {
  const whole = (value: unknown, otherwise: number) => (typeof value === "number" ? value : otherwise);
  if (!policy?.name) return { kind: "recorded", why: "the trace does not say which policy ranked its tokens" };
  switch (policy.name) {
    case "trimkv":
    case "trimkv-knorm":
      if (!gatesKnown) return { kind: "recorded", why: "the trace has no gate values to compute scores from" };
      return {
        kind: "retention",
        ageOffset: whole(policy.age_offset, 1),
        lookAhead: whole(policy.look_ahead, 1),
        plusConstant: policy.name === "trimkv-knorm",
      };
    case "window":
    case "streaming-llm":
      return { kind: "position" };
    case "random":
      return { kind: "fixed" };
    default:
      return { kind: "recorded", why: `scores of the policy ${policy.name} do not follow from what a trace records` };
  }
}

/** What scores are measured in. */
export function unitOf(rule: ScoreRule): string {
  const units = { retention: "nats", position: "position", fixed: "drawn at birth, 0 to 1", recorded: "the policy's own unit" };
  return units[rule.kind];
}

/** One token in one head, from birth to eviction or to the last token seen. */
export interface LifeLine {
  position: number;
  /** Nats; NaN: unknown. */
  logBeta: number;
  /** Tokens seen at the cut that removed it; null: still cached. */
  evictedAt: number | null;
  /** Tokens seen at the last cut that weighed it; null: none has. */
  weighedAt: number | null;
  /** Whether the head's cuts are recorded. */
  areCutsKnown: boolean;
  /** Its score there: as recorded, else computed; NaN: unknown. */
  score: number;
  /** The lowest score that stayed there; NaN: unknown. */
  threshold: number;
  /** Entries before that cut, and after it; 0: unknown. */
  cachedBefore: number;
  kept: number;
  /** Its score after so many tokens; NaN where it cannot be computed. */
  scoreAt(tokens: number): number;
  /** Why not, where it cannot. */
  why: string | undefined;
}

/** How far a computed score may be from the recorded one, as a share of it: f32 arithmetic in another order. */
const AGREEMENT = 1e-3;

export function lifeLine(rule: ScoreRule, columns: LayerColumns, head: number, position: number, cuts: HeadCuts): LifeLine {
  const at = columns.at(head, position);
  const logBeta = columns.logBeta[at];
  const evictedAt = columns.evictedAt[at] === STILL_CACHED ? null : columns.evictedAt[at];
  const lastCut = cuts.tokensSeen.at(-1) ?? 0;
  const weighedAt = evictedAt ?? (lastCut > position ? lastCut : null);
  const recorded = weighedAt === null ? NaN : columns.lastScore[at];
  const [score, refused] = scorer(rule, logBeta, position, weighedAt, recorded);
  let [scoreAt, why] = [score, refused];
  // A foreign trace may use a name for something else: a recorded score is the judge. A survivor's may be of another cut.
  if (evictedAt !== null && !Number.isNaN(recorded)) {
    const computed = score(evictedAt);
    if (Math.abs(computed - recorded) > AGREEMENT * Math.max(1, Math.abs(recorded))) {
      why = `its recorded score, ${number(recorded)}, is not what the rule gives, ${number(computed)}`;
      scoreAt = () => NaN;
    }
  }
  const cut = weighedAt === null ? -1 : cutAt(cuts, weighedAt);
  return {
    position,
    logBeta,
    evictedAt,
    weighedAt,
    areCutsKnown: cuts.tokensSeen.length > 0,
    score: weighedAt === null ? NaN : firstKnown(evictedAt === null ? [scoreAt(weighedAt), recorded] : [recorded, scoreAt(weighedAt)]),
    threshold: cut < 0 ? NaN : cuts.threshold[cut],
    cachedBefore: cut < 0 ? 0 : cuts.cachedBefore[cut],
    kept: cut < 0 ? 0 : cuts.kept[cut],
    scoreAt,
    why,
  };
}

function firstKnown(values: readonly number[]): number {
  return values.find((value) => !Number.isNaN(value)) ?? NaN;
}

type Score = (tokens: number) => number;
const unknown: Score = () => NaN;

function scorer(rule: ScoreRule, logBeta: number, position: number, weighedAt: number | null, recorded: number): [Score, string | undefined] {
  switch (rule.kind) {
    case "retention": {
      if (Number.isNaN(logBeta)) return [unknown, "its log β is not known"];
      const plain = retentionScore(rule, logBeta, position);
      if (!rule.plusConstant) return [plain, undefined];
      if (weighedAt === null || Number.isNaN(recorded)) return [unknown, "the norm of its key is not recorded, and no cut has told its score"];
      const constant = recorded - plain(weighedAt);
      return [(tokens) => plain(tokens) + constant, undefined];
    }
    case "position":
      return [() => position, undefined];
    case "fixed":
      return Number.isNaN(recorded) ? [unknown, "no cut has told the number drawn for it"] : [() => recorded, undefined];
    case "recorded":
      return [unknown, rule.why];
  }
}

/** `log_beta * age`, or the log of retention summed over the next steps. Twin of backend/policy/retention.rs. */
function retentionScore({ ageOffset, lookAhead }: Extract<ScoreRule, { kind: "retention" }>, logBeta: number, position: number): Score {
  if (lookAhead <= 1) return (tokens) => logBeta * (tokens + ageOffset - position);
  const sum = logBeta === 0 ? Math.log(lookAhead) : logOneMinusExp(logBeta * lookAhead) - logOneMinusExp(logBeta);
  return (tokens) => logBeta * (tokens + ageOffset + 1 - position) + sum;
}

/** `ln(1 - exp(x))` for x < 0. */
function logOneMinusExp(x: number): number {
  return x > -Math.LN2 ? Math.log(-Math.expm1(x)) : Math.log1p(-Math.exp(x));
}

/** What happened to the token, in a sentence or two. */
export function fate(line: LifeLine, policy: Manifest["policy"], seen: number): string {
  const { evictedAt, weighedAt, position, score, threshold } = line;
  const born = `Born as token ${count(position)}${Number.isNaN(line.logBeta) ? "" : `, half-life ${number(halfLife(line.logBeta))} tokens`}.`;
  const of = line.cachedBefore > 0 ? `, where ${count(line.kept)} of ${count(line.cachedBefore)} entries stayed` : "";
  if (policy?.name === "full") return `${born} Still cached: the full cache evicts nothing.`;
  if (evictedAt !== null) {
    const when = `Evicted after ${count(evictedAt)} tokens, ${plural(evictedAt - position, "token")} after it was written${of}`;
    if (Number.isNaN(score) && Number.isNaN(threshold)) return `${born} ${when}; no score is recorded.`;
    if (Number.isNaN(threshold)) return `${born} ${when}; its score was ${number(score)}.`;
    if (Number.isNaN(score)) return `${born} ${when}; the lowest score that stayed was ${number(threshold)}.`;
    const against = score < threshold ? "under" : score === threshold ? "equal to" : "over";
    const tie = score === threshold ? "; of equals the newer stay" : against === "over" ? "; the competition it lost was not its head's own" : "";
    return `${born} ${when}: its score ${number(score)} was ${against} ${number(threshold)}, the lowest that stayed${tie}.`;
  }
  const still = `Still cached after ${count(seen)} tokens`;
  if (weighedAt === null) return `${born} ${still}${line.areCutsKnown ? ": no cut has weighed it yet" : ""}.`;
  if (Number.isNaN(score) || Number.isNaN(threshold)) return `${born} ${still}.`;
  const isSink = typeof policy?.sinks === "number" && position < policy.sinks;
  if (score < threshold) {
    return `${born} ${still}: ${isSink ? "the first positions are protected" : "protected"}, for its score ${number(score)} was under ${number(threshold)}.`;
  }
  return `${born} ${still}: at the last cut, after ${count(weighedAt)}, its score ${number(score)} was ${score === threshold ? "the lowest that stayed" : `over ${number(threshold)}, the lowest that stayed`}.`;
}

/** A token to look at when none is pinned, and by which rule it was chosen. */
export interface Example {
  position: number;
  rule: string;
}

/** The first evicted (of one cut, the oldest), the evicted one of median life, and the longest kept (of equals, the oldest). */
export function examples(columns: LayerColumns, head: number): Example[] {
  const { seen } = columns;
  const lifeOf = (position: number) => {
    const at = columns.evictedAt[columns.at(head, position)];
    return (at === STILL_CACHED ? seen : at) - position;
  };
  const evicted: number[] = [];
  let longest = 0;
  let first: number | undefined;
  for (let position = 0; position < seen; position++) {
    const at = columns.evictedAt[columns.at(head, position)];
    if (lifeOf(position) > lifeOf(longest)) longest = position;
    if (at === STILL_CACHED) continue;
    evicted.push(position);
    if (first === undefined || at < columns.evictedAt[columns.at(head, first)]) first = position;
  }
  if (seen === 0) return [];
  const found: Example[] = [{ position: longest, rule: "longest kept" }];
  if (evicted.length > 2) {
    evicted.sort((a, b) => lifeOf(a) - lifeOf(b) || a - b);
    found.push({ position: evicted[evicted.length >> 1], rule: "median life of the evicted" });
  }
  if (first !== undefined) found.push({ position: first, rule: "first evicted" });
  return found.filter(({ position }, index) => found.findIndex((other) => other.position === position) === index);
}
