import assert from "node:assert/strict";
import { test } from "node:test";
import { ALIVE, EVICTED, type HeadColumns, STILL_CACHED, UNBORN, cellsOfPixel, halfLifeShare, retentionAt, shownIn, stateAt } from "../src/base/cells";

const head: HeadColumns = {
  logBeta: Float32Array.of(-0.5, 0, -2, NaN),
  evictedAt: Uint32Array.of(2, STILL_CACHED, 3, STILL_CACHED),
  start: 0,
  pool: 1,
  seen: 4,
};
const cell = (key: number, query: number) => ({ key0: key, key1: key + 1, query0: query, query1: query + 1 });

test("a cell is unborn above the diagonal, alive until the query that no longer sees it, evicted from then on", () => {
  const states = Array.from({ length: 4 }, (_, query) => Array.from({ length: 4 }, (_, key) => stateAt(key, query, head.evictedAt[key])));
  const [u, e, a] = [UNBORN, EVICTED, ALIVE];
  assert.deepEqual(states, [
    [a, u, u, u],
    [a, a, u, u],
    [e, a, a, u],
    [e, a, e, a],
  ]);
});

test("one cell shows exactly its own retention", () => {
  assert.deepEqual(shownIn(head, cell(0, 1), "retention", 1000), { state: ALIVE, value: retentionAt(-0.5, 1) });
  assert.deepEqual(shownIn(head, cell(0, 2), "retention", 1000), { state: EVICTED, value: 0 });
  assert.deepEqual(shownIn(head, cell(2, 1), "retention", 1000), { state: UNBORN, value: 0 });
  assert.deepEqual(shownIn(head, cell(1, 3), "half-life", 1000), { state: ALIVE, value: 1 });
});

test("without gates a live cell is known to live, and nothing more", () => {
  assert.deepEqual(shownIn(head, cell(3, 3), "retention", 1000), { state: ALIVE, value: NaN });
});

test("a stripe of one token never vanishes, however many tokens share its pixel", () => {
  const seen = 5000;
  const evictedAt = new Uint32Array(seen).map((_, position) => position + 1);
  evictedAt[1234] = STILL_CACHED;
  const tokens: HeadColumns = { logBeta: new Float32Array(seen).fill(-1e-4), evictedAt, start: 0, pool: 1, seen };
  const block = { key0: 1200, key1: 1264, query0: 4900, query1: 4964 };
  assert.equal(shownIn(tokens, block, "retention", 1e5).value, retentionAt(Math.fround(-1e-4), 4900 - 1234));
  assert.deepEqual(shownIn(tokens, block, "alive", 1e5), { state: ALIVE, value: 1 / 64 });
});

test("pixels cover all cells, and only theirs when cells are larger", () => {
  for (const perPixel of [0.25, 1, 1.5, 7, 33.3]) {
    const covered = new Set<number>();
    for (let pixel = 0; pixel < 100; pixel++) {
      const [from, to] = cellsOfPixel(pixel, 0, perPixel);
      if (perPixel <= 1) assert.equal(to - from, 1);
      for (let at = from; at < to; at++) covered.add(at);
    }
    assert.equal(covered.size, Math.ceil(100 * perPixel - 1e-3), `${perPixel} cells to a pixel`);
  }
});

test("the half-life axis is logarithmic from one token to its end", () => {
  assert.equal(halfLifeShare(-Math.LN2 / 1, 1000), 0);
  assert.ok(Math.abs(halfLifeShare(-Math.LN2 / 10, 1000) - 1 / 3) < 1e-12);
  assert.equal(halfLifeShare(-1e-30, 1000), 1);
  assert.equal(halfLifeShare(-100, 1000), 0);
});
