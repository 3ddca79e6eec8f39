import assert from "node:assert/strict";
import { test } from "node:test";
import { STILL_CACHED } from "../src/base/cells";
import type { Cuts } from "../src/data/model";
import { cutAt, lifeInWords } from "../src/views/token_words";

const rows = [
  [40, 0, -2], [40, 1, -1.5], [48, 0, -1], [48, 2, NaN], [56, 1, -0.5],
];
const cuts: Cuts = {
  count: rows.length,
  tokensSeen: Uint32Array.from(rows, (row) => row[0]),
  head: Uint16Array.from(rows, (row) => row[1]),
  cachedBefore: new Uint32Array(rows.length),
  kept: new Uint32Array(rows.length),
  threshold: Float32Array.from(rows, (row) => row[2]),
  ties: new Uint32Array(rows.length),
};
const life = { position: 30, logBeta: -Math.LN2 / 12, evictedAt: 48, lastScore: -3, now: 45 };

test("every cut is found by its time and head, and no other", () => {
  for (const [time, head, threshold] of rows) assert.deepEqual(cutAt(cuts, head, time), { tokensSeen: time, threshold });
  for (const [time, head] of [[40, 2], [48, 1], [57, 1], [0, 0]]) assert.equal(cutAt(cuts, head, time), undefined);
});

test("a life is told from birth to the cut that ended it", () => {
  assert.deepEqual(lifeInWords(life, 0, cuts), {
    state: "Alive, 15 tokens old.",
    fading: "Half-life 12 tokens.",
    end: "Evicted at 48, 18 tokens after its birth: its score −3 was under −1, the lowest that stayed.",
  });
  assert.equal(lifeInWords({ ...life, now: 48 }, 0, cuts).state, "Evicted; it would be 18 tokens old.");
  assert.equal(lifeInWords({ ...life, now: 29 }, 0, cuts).state, "Not born yet: the query is at 29.");
});

test("why a token left is said only as far as it is known", () => {
  const end = (change: Partial<typeof life>, head = 0, known: Cuts | null = cuts) => lifeInWords({ ...life, ...change }, head, known ?? undefined).end;
  assert.equal(end({}, 0, null), "Evicted at 48, 18 tokens after its birth.");
  assert.equal(end({}, 2), "Evicted at 48, 18 tokens after its birth: only protected tokens stayed.");
  assert.equal(end({ lastScore: NaN }), "Evicted at 48, 18 tokens after its birth; the lowest score that stayed was −1.");
  assert.match(end({ lastScore: -1 }), /equalled the lowest that stayed, and ties go to the newer token/);
  assert.match(end({ lastScore: Math.fround(-1.00001) }), /its score −1\.00001 was under −1\.00000,/);
  assert.equal(end({ evictedAt: STILL_CACHED, lastScore: -0.25 }), "Still cached at the end: score −0.25 at the cut of 48, where −1 was the lowest that stayed.");
  assert.equal(end({ evictedAt: STILL_CACHED, lastScore: NaN }), "Still cached at the end of the run.");
});

test("without gates nothing is said of fading, and zero never fades", () => {
  assert.match(lifeInWords({ ...life, logBeta: NaN }, 0, cuts).fading, /No gates/);
  assert.equal(lifeInWords({ ...life, logBeta: 0 }, 0, cuts).fading, "It never fades.");
});
