import assert from "node:assert/strict";
import { test } from "node:test";
import { STILL_CACHED } from "../src/base/cells";
import { LayerColumns } from "../src/data/columns";
import { Keepers, packedLives, sharedLives } from "../src/data/keepers";

/** A layer whose tokens leave at `times`, more room between heads than tokens. */
function layer(index: number, heads: number, seen: number, leaves: (head: number, position: number) => number): LayerColumns {
  const stride = seen + 3;
  const evictedAt = new Uint32Array(heads * stride).fill(7);
  for (let head = 0; head < heads; head++) {
    for (let position = 0; position < seen; position++) evictedAt[head * stride + position] = leaves(head, position);
  }
  const empty = new Float32Array(heads * stride);
  return new LayerColumns(index, heads, seen, 1, stride, empty, evictedAt, empty);
}

const cutsOfEight = (head: number, position: number) => ((position * 7 + head * 3) % 5 === 0 ? STILL_CACHED : Math.ceil((position + 1 + ((position * 13 + head) % 20)) / 8) * 8);

test("copies of two bytes and the columns themselves count the same keepers at every query", () => {
  const [heads, seen] = [3, 90];
  const columns = layer(0, heads, seen, cutsOfEight);
  const [packed, shared] = [packedLives(columns), sharedLives(columns)];
  for (let position = 0; position < seen; position++) {
    for (let query = position; query < seen; query++) {
      let kept = 0;
      for (let head = 0; head < heads; head++) kept += query < cutsOfEight(head, position) ? 1 : 0;
      assert.equal(packed.keepers(position, query), kept);
      assert.equal(shared.keepers(position, query), kept);
    }
  }
});

test("more times than two bytes can tell are kept as they are", () => {
  const seen = 70_000;
  const lives = packedLives(layer(0, 2, seen, (head, position) => (head === 1 ? STILL_CACHED : Math.min(position + 1, seen))));
  for (const position of [0, 65_535, 65_536, seen - 1]) {
    assert.equal(lives.evictedAt(0, position), position + 1);
    assert.equal(lives.evictedAt(1, position), STILL_CACHED);
    assert.equal(lives.keepers(position, position), 2);
    assert.equal(lives.keepers(position, position + 1), 1);
  }
});

test("a layer that is not here is not counted, and its heads are unknown", () => {
  const keepers = new Keepers(3, 2);
  keepers.add(1, packedLives(layer(1, 2, 10, (head) => (head === 0 ? 6 : STILL_CACHED))));
  assert.equal(keepers.counted, 1);
  assert.equal(keepers.count(4, 5), 2);
  assert.equal(keepers.count(4, 6), 1);
  assert.equal(keepers.count(4, 3), 0);
  assert.deepEqual([keepers.holding(1, 0, 4, 3), keepers.holding(1, 0, 4, 5), keepers.holding(1, 0, 4, 6), keepers.holding(0, 0, 4, 6)], ["unborn", "kept", "evicted", "unknown"]);
  assert.equal(keepers.evictedAt(1, 0, 10), undefined);
});

test("the heads that keep a token longest and shortest are found, and how many never let go", () => {
  const keepers = new Keepers(2, 2);
  keepers.add(0, sharedLives(layer(0, 2, 8, (head) => 4 + head)));
  assert.deepEqual(keepers.extremes(1), { longest: { layer: 0, head: 1, evictedAt: 5 }, shortest: { layer: 0, head: 0, evictedAt: 4 }, stillCached: 0 });
  keepers.add(1, sharedLives(layer(1, 2, 8, () => STILL_CACHED)));
  assert.deepEqual(keepers.extremes(1), { longest: { layer: 1, head: 0, evictedAt: STILL_CACHED }, shortest: { layer: 0, head: 0, evictedAt: 4 }, stillCached: 2 });
});
