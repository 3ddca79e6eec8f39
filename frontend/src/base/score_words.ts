// What every score of a head means: one sentence with its formula, and the range it can have. See docs/roles.md.

export interface ScoreWords {
  says: string;
  /** A share or a probability lies in 0..1; tokens, counts and ratios have no upper end. */
  kind: "share" | "tokens" | "count" | "ratio";
}

const SCORES: Record<string, ScoreWords> = {
  kept: { kind: "count", says: "Entries the head holds at the end." },
  evicted: { kind: "count", says: "Tokens seen that the head no longer holds at the end." },
  mean_lifetime: { kind: "tokens", says: "Mean number of queries that could see a token; tokens alive at the end count up to the end, so it is a lower bound." },
  mean_age_evicted: { kind: "tokens", says: "Mean age of tokens when they were evicted: tokens seen − position." },
  median_half_life: { kind: "tokens", says: "Median of ln 2 / −log β: tokens until half of a token’s retention is gone." },
  first_4_kept: { kind: "share", says: "Share of the positions 0 to 3 still held at the end." },
  last_m_kept: { kind: "share", says: "Share of the last M positions still held at the end, M being the budget." },
  seen: { kind: "count", says: "Tokens the head has seen." },
  cuts: { kind: "count", says: "Cuts the scores are taken from: evenly spaced, at most 256." },
  occupancy: { kind: "tokens", says: "Mean number of entries right after a cut." },
  sparsity: { kind: "share", says: "Share of the text that is gone: 1 − mean of entries / tokens seen." },
  turnover: { kind: "share", says: "Mean share of the entries of one cut that the next cut removes." },
  sink_survival: { kind: "share", says: "Mean over the positions 0 to 3 of the share of cuts that found them held." },
  sink_held: { kind: "count", says: "How many of the positions 0 to 3 were held at 95 % of the cuts or more, 0 to 4." },
  sink_expected: { kind: "share", says: "Survival of the first positions by chance: the larger of the share of old tokens held and the survival of the next 16 positions." },
  sink_rank: { kind: "share", says: "Share of tokens whose log β is below that of position 0, ties half." },
  sink_q: { kind: "share", says: "Chance of so high a rank, or of so many first positions held, if gates did not know the start; corrected for all heads." },
  window_purity: { kind: "share", says: "Share of the entries that are among the newest as many positions." },
  window_purity_by_chance: { kind: "share", says: "Window purity that a random choice of as many tokens would have." },
  window_width: { kind: "tokens", says: "Age at which half of the tokens are gone." },
  window_crispness: { kind: "ratio", says: "How sharply the window ends: (age at which 1/4 is held − age at which 3/4 is) / width; 0 is a sharp edge." },
  old_share: { kind: "share", says: "Share of the entries that are older than the window’s width, positions 0 to 3 aside." },
  sentence_coverage: { kind: "share", says: "Sentence ends held beyond the window’s width / those that could have been." },
  admission: { kind: "share", says: "Share of tokens held at the first cut that weighs them at an age of buffer + 8 or more." },
  admission_tokens: { kind: "count", says: "Tokens that the admission is measured on." },
  gate_split: { kind: "ratio", says: "How far the gates part tokens in two groups: Ashman’s D of the best split of ln(−log β); about 2.7 for one normal group, 3.5 for an even spread." },
  birth_percentile: { kind: "share", says: "Mean place in the text of what is held at the last cut: (position + 1/2) / tokens seen; 0.5 is even." },
  birth_entries: { kind: "count", says: "Entries that the birth percentile is the mean of." },
  birth_p: { kind: "share", says: "Chance of so early a birth percentile if entries were spread evenly over the text." },
  frozen_since: { kind: "tokens", says: "Tokens seen when a settled token last came or went." },
  frozen_cuts: { kind: "count", says: "Cuts since a settled token last came or went." },
  frozen_p: { kind: "share", says: "Chance of so long a rest: (frozen since / last cut) to the power of entries." },
};

const RANGES: Record<ScoreWords["kind"], string> = { share: "From 0 to 1.", tokens: "In tokens, from 0.", count: "A count, from 0.", ratio: "A ratio, from 0." };

export const SCORE_NAMES: readonly string[] = Object.keys(SCORES);

/** Its sentence and range; undefined for a score that this page does not know. */
export function scoreWords(name: string): string | undefined {
  const score = SCORES[name];
  return score && `${score.says} ${RANGES[score.kind]}`;
}

/** What values a score can have; without an upper end where it has none. Undefined where the score is not known. */
export function scoreRange(name: string): readonly [number, number] | undefined {
  const score = SCORES[name];
  return score && [0, score.kind === "share" ? 1 : Infinity];
}

/** The analysis' line on a head, with what would be expected called as everywhere else. */
export function evidenceWords(evidence: string): string {
  return evidence.replaceAll("(expected ", "(by chance ");
}
