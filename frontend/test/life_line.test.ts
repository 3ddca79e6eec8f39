import assert from "node:assert/strict";
import { test } from "node:test";
import { STILL_CACHED } from "../src/base/cells";
import { LayerColumns } from "../src/data/columns";
import { examples, fate, lifeLine, scoreRule, unitOf } from "../src/views/life_line";
import { type HeadCuts, NO_CUTS, cutsOfHead, thresholdAt, thresholdSteps } from "../src/views/life_line_cuts";
import { canBeLog, scoreScale, wantsLog } from "../src/views/life_line_scale";

// Layer 0, head 0 of a run of prompts/codes.txt with former gates of the built-in model: position, log beta, evicted at, score at its last cut.
const CODES: readonly [number, number, number | null, number][] = [
  [0, -1.1251254363742191e-5, null, -0.0057718935422599316],
  [1, -0.3138551712036133, 80, -25.108413696289062],
  [2, -0.038248781114816666, 128, -4.857594966888428],
  [3, -0.4209865927696228, 80, -32.83695602416992],
  [4, -0.49973082542419434, 80, -38.47927474975586],
  [5, -0.2263938933610916, 96, -20.828237533569336],
  [6, -0.029629714787006378, 144, -4.1185302734375],
  [7, -0.6789318919181824, 80, -50.24095916748047],
];
const CUTS: HeadCuts = {
  tokensSeen: [80, 96, 112, 128, 512],
  threshold: [-17.8339900970459, -9.044925689697266, -7.2559027671813965, -4.602177143096924, -3.326047897338867],
  cachedBefore: [80, 80, 80, 80, 80],
  kept: [64, 64, 64, 64, 64],
};
const TRIMKV = { name: "trimkv", budget: 64, buffer: 16, scope: "head", age_offset: 1 };

function columnsOf(rows: readonly (readonly [number, number, number | null, number])[]): LayerColumns {
  return new LayerColumns(
    0, 1, rows.length, 1, rows.length,
    Float32Array.from(rows, (row) => row[1]), Uint32Array.from(rows, (row) => row[2] ?? STILL_CACHED), Float32Array.from(rows, (row) => row[3]),
  );
}
const close = (found: number, expected: number) => assert.ok(Math.abs(found - expected) <= 1e-5 * Math.max(1, Math.abs(expected)), `${found} is not ${expected}`);

test("scores computed from log beta are those that a real run recorded", () => {
  const columns = columnsOf(CODES);
  const rule = scoreRule(TRIMKV, true);
  assert.equal(unitOf(rule), "nats");
  for (const [position, , evictedAt, recorded] of CODES) {
    const line = lifeLine(rule, columns, 0, position, CUTS);
    close(line.scoreAt(evictedAt ?? 512), recorded);
    assert.equal(line.why, undefined);
    assert.equal(line.weighedAt, evictedAt ?? 512);
  }
});

test("a token's end is said with the cut's own numbers", () => {
  const line = (position: number) => lifeLine(scoreRule(TRIMKV, true), columnsOf(CODES), 0, position, CUTS);
  assert.equal(
    fate(line(2), TRIMKV, 517),
    "Born as token 2, half-life 18.1 tokens. Evicted after 128 tokens, 126 tokens after it was written, where 64 of 80 entries stayed: its score −4.86 was under −4.6, the lowest that stayed.",
  );
  assert.match(fate(line(0), TRIMKV, 517), /Still cached after 517 tokens: at the last cut, after 512, its score −0.00577 was over −3.33/);
  // The cut after 144 tokens is not among those known here.
  assert.match(fate(line(6), TRIMKV, 517), /Evicted after 144 tokens.*; its score was −4.12\.$/);
});

test("a score equal to the threshold is told as a tie, a lower one that stayed as protected", () => {
  const rule = scoreRule({ name: "window" }, false);
  const cuts: HeadCuts = { tokensSeen: [8], threshold: [3], cachedBefore: [8], kept: [4] };
  const rows: [number, number, number | null, number][] = Array.from({ length: 8 }, (_, i) => [i, NaN, i === 3 ? 8 : null, NaN]);
  const columns = columnsOf(rows);
  assert.match(fate(lifeLine(rule, columns, 0, 3, cuts), { name: "window" }, 8), /score 3 was equal to 3, the lowest that stayed; of equals the newer stay/);
  const sinks = { name: "streaming-llm", sinks: 4 };
  assert.match(fate(lifeLine(rule, columns, 0, 1, cuts), sinks, 8), /the first positions are protected, for its score 1 was under 3/);
});

test("a token born after the last cut has not been weighed", () => {
  const rows: [number, number, number | null, number][] = Array.from({ length: 90 }, (_, i) => [i, -0.1, null, NaN]);
  const late = lifeLine(scoreRule(TRIMKV, true), columnsOf(rows), 0, 85, { ...CUTS, tokensSeen: [80], threshold: [-5], cachedBefore: [80], kept: [64] });
  assert.equal(late.weighedAt, null);
  assert.match(fate(late, TRIMKV, 90), /no cut has weighed it yet/);
  const foreign = lifeLine(scoreRule(undefined, false), columnsOf(rows), 0, 85, NO_CUTS);
  assert.match(fate(foreign, undefined, 90), /Still cached after 90 tokens\.$/);
});

test("a recorded score that the rule does not give wins over the rule", () => {
  const line = lifeLine(scoreRule(TRIMKV, true), columnsOf([[0, -0.5, 80, -3]]), 0, 0, CUTS);
  assert.match(line.why ?? "", /recorded score, −3, is not what the rule gives, −40.5/);
  assert.ok(Number.isNaN(line.scoreAt(40)));
  assert.equal(line.score, -3);
});

test("the key's norm is taken from the recorded score, and only from there", () => {
  const rule = scoreRule({ ...TRIMKV, name: "trimkv-knorm" }, true);
  const line = lifeLine(rule, columnsOf([[0, -0.5, 80, -38.5]]), 0, 0, CUTS);
  close(line.scoreAt(80), -38.5);
  close(line.scoreAt(10), -0.5 * 11 + 2);
  assert.ok(Number.isNaN(lifeLine(rule, columnsOf([[0, -0.5, null, NaN]]), 0, 0, CUTS).scoreAt(10)));
});

test("looking two steps ahead gives the figures of the Rust code's test", () => {
  const rule = scoreRule({ name: "trimkv", look_ahead: 2 }, true);
  const logBeta = [-0.01, -0.5, -0.2, -0.05, -0.4, -0.3];
  const columns = columnsOf(logBeta.map((value, i) => [i, value, null, NaN] as const));
  const found = logBeta.map((_, position) => lifeLine(rule, columns, 0, position, NO_CUTS).scoreAt(6));
  [0.6082, -3.0259, -0.6019, 0.4185, -1.087, -0.3456].forEach((expected, i) => assert.ok(Math.abs(found[i] - expected) < 1e-4, `${found[i]}`));
});

test("policies whose scores do not follow from a trace say so", () => {
  for (const [policy, gates, says] of [[{ name: "h2o" }, true, /h2o/], [{ name: "trimkv" }, false, /no gate values/], [undefined, true, /which policy/]] as const) {
    const rule = scoreRule(policy, gates);
    assert.ok(rule.kind === "recorded");
    assert.match(rule.why, says);
  }
});

test("examples are the longest kept, the median of the evicted, and the first evicted", () => {
  const rows: [number, number, number | null, number][] = [[0, -1, 6, 0], [1, -1, 4, 0], [2, -1, null, 0], [3, -1, 4, 0], [4, -1, 9, 0], [5, -1, null, 0], [6, -1, null, 0], [7, -1, null, 0], [8, -1, null, 0]];
  assert.deepEqual(examples(columnsOf(rows), 0), [
    { position: 2, rule: "longest kept" },
    // Lives of the evicted are 1, 3, 5 and 6 tokens.
    { position: 4, rule: "median life of the evicted" },
    { position: 1, rule: "first evicted" },
  ]);
  const none = columnsOf([[0, -1, null, NaN], [1, -1, null, NaN]]);
  assert.deepEqual(examples(none, 0), [{ position: 0, rule: "longest kept" }]);
});

test("a threshold holds from its cut to the next, within what is shown", () => {
  const cuts = cutsOfHead(
    {
      count: 4, tokensSeen: Uint32Array.of(10, 10, 20, 30), head: Uint16Array.of(0, 1, 0, 0), cachedBefore: Uint32Array.of(8, 8, 8, 8),
      kept: Uint32Array.of(4, 4, 4, 4), threshold: Float32Array.of(-2, -9, NaN, -1), ties: new Uint32Array(4),
    },
    0,
  );
  assert.deepEqual(cuts.tokensSeen, [10, 20, 30]);
  assert.deepEqual(thresholdSteps(cuts, [5, 34]), [{ from: 10, to: 20, threshold: -2 }, { from: 30, to: 34, threshold: -1 }]);
  assert.deepEqual(thresholdSteps(cuts, [12, 15]), [{ from: 12, to: 15, threshold: -2 }]);
  assert.deepEqual([thresholdAt(cuts, 9).at, thresholdAt(cuts, 10).threshold, thresholdAt(cuts, 99).threshold], [0, -2, -1]);
});

test("the axis of scores has the best at the top, on either scale", () => {
  for (const isLog of [false, true]) {
    const scale = scoreScale([-0.001, -5, -40], isLog, [200, 10]);
    assert.equal(scale.isLog, isLog);
    assert.ok(scale(-0.001) < scale(-5) && scale(-5) < scale(-40) && scale(-40) <= 200);
    assert.ok(scale.ticks(4).every((tick) => tick <= 0));
  }
  assert.equal(scoreScale([-1, 2], true, [200, 10]).isLog, false, "a score over zero has no logarithm here");
  assert.ok(canBeLog([-1, -2]) && !canBeLog([-1, 0]) && !canBeLog([]));
  assert.ok(wantsLog([-0.006, -17]) && !wantsLog([-3, -17]));
});
