import assert from "node:assert/strict";
import { test } from "node:test";
import { STILL_CACHED } from "../src/base/cells";
import { LayerColumns, pooled } from "../src/data/columns";
import { lifeShare, occupancy } from "../src/data/head_facts";
import { slotsOf } from "../src/data/slots";

/** A head of random lives, the same for the same seed. */
function random(seed: number, heads: number, seen: number): LayerColumns {
  let state = seed;
  const next = () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
  const logBeta = Float32Array.from({ length: heads * seen }, () => -next());
  const evictedAt = Uint32Array.from({ length: heads * seen }, (_, at) => {
    const gone = (at % seen) + 1 + Math.floor(next() * 40);
    return gone >= seen ? STILL_CACHED : gone;
  });
  return new LayerColumns(0, heads, seen, 1, seen, logBeta, evictedAt, new Float32Array(heads * seen).fill(NaN));
}

test("pooling in two steps is pooling in one", () => {
  const fine = random(7, 3, 131);
  const [once, twice] = [pooled(fine, 12), pooled(pooled(fine, 4), 3)];
  assert.deepEqual(twice.position, once.position);
  assert.deepEqual(twice.evictedAt, once.evictedAt);
  assert.equal(twice.pool, 12);
});

test("of a block's tokens the one kept longest stands for it; of equals the slower to fade, then the older", () => {
  const columns = new LayerColumns(
    0, 1, 6, 1, 6,
    Float32Array.of(-1, -1, -3, -2, -2, -2), Uint32Array.of(4, STILL_CACHED, 9, 9, 9, 8), new Float32Array(6),
  );
  assert.deepEqual([...(pooled(columns, 3).position ?? [])], [1, 3]);
});

test("entries cached per query are the tokens that the query sees", () => {
  const columns = random(3, 2, 90);
  for (const head of [0, 1]) {
    const counted = Array.from({ length: 90 }, (_, query) => {
      let alive = 0;
      for (let key = 0; key <= query; key++) alive += query < columns.evictedAt[columns.at(head, key)] ? 1 : 0;
      return alive;
    });
    assert.deepEqual([...occupancy(columns, head)], counted);
  }
});

test("no two tokens hold one place at one time, and no more places are used than entries cached", () => {
  const columns = random(11, 1, 400);
  const { of, count } = slotsOf(columns, 0);
  const held = new Map<number, number>();
  for (let position = 0; position < 400; position++) {
    const until = held.get(of[position]) ?? 0;
    assert.ok(until <= position, `place ${of[position]} is held until ${until}, token ${position} has it too`);
    held.set(of[position], columns.evictedAt[position]);
  }
  assert.equal(count, Math.max(...occupancy(columns, 0)));
});

test("growing keeps what is known and knows nothing of what is new", () => {
  const columns = random(5, 2, 10);
  const before = [...columns.logBeta];
  columns.grow(300);
  assert.equal(columns.seen, 300);
  for (const head of [0, 1]) {
    assert.deepEqual([...columns.logBeta.subarray(columns.at(head, 0), columns.at(head, 10))], before.slice(10 * head, 10 * head + 10));
    assert.ok(Number.isNaN(columns.logBeta[columns.at(head, 10)]));
    assert.equal(columns.evictedAt[columns.at(head, 299)], STILL_CACHED);
  }
});

test("a life's share is one for a token that never left", () => {
  assert.equal(lifeShare(3, STILL_CACHED, 10), 1);
  assert.equal(lifeShare(3, 5, 13), 0.2);
});
