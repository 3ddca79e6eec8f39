import assert from "node:assert/strict";
import { test } from "node:test";
import { SCORE_NAMES, evidenceWords, scoreRange, scoreWords } from "../src/base/score_words";
import { axisOf } from "../src/views/scatter_axis";

/** Every number that `trimkv-trace heads --json` gives for traces/codes, but for layer and head. */
const GIVEN =
  "kept evicted mean_lifetime mean_age_evicted median_half_life first_4_kept last_m_kept seen cuts occupancy sparsity turnover sink_survival sink_held " +
  "sink_expected sink_rank sink_q window_purity window_purity_by_chance window_width window_crispness old_share sentence_coverage admission " +
  "admission_tokens gate_split birth_percentile birth_entries birth_p frozen_since frozen_cuts frozen_p";

test("every score has its sentence and its range", () => {
  assert.deepEqual([...SCORE_NAMES].sort(), GIVEN.split(" ").sort());
  for (const name of SCORE_NAMES) assert.match(scoreWords(name) ?? "", /^[A-Z].+[^.]\. (From|In|A) .+\.$/, name);
  assert.deepEqual(scoreRange("sparsity"), [0, 1]);
  assert.deepEqual(scoreRange("window_width"), [0, Infinity]);
  assert.equal(scoreWords("layer"), undefined);
});

test("what is expected is called as everywhere else", () => {
  assert.equal(evidenceWords("holds 1 of the first 4 (expected 15 %), rank 100.0 %"), "holds 1 of the first 4 (by chance 15 %), rank 100.0 %");
});

test("an axis shows nothing that a score cannot be", () => {
  const share = axisOf([0.97, 0.99], [0, 100], [0, 1]);
  assert.equal(share.at(0.99) <= 100, true);
  assert.ok(share.ticks.every((tick) => tick >= 0 && tick <= 1));
  assert.equal(axisOf([1, 1], [0, 100], [0, 1]).at(1), 100);
  assert.equal(axisOf([0, 0], [0, 100], [0, Infinity]).at(0), 0);
  assert.deepEqual(axisOf([1, 1000], [0, 90], [0, Infinity]).ticks, [1, 10, 100, 1000]);
});
