import assert from "node:assert/strict";
import { test } from "node:test";
import { STILL_CACHED } from "../src/base/cells";
import { LayerColumns } from "../src/data/columns";
import { type Series, aliveByQuery, cachedAfter, columnsOf, rangeByPixel, rowAt, seriesOfLayers } from "../src/views/occupancy";

/** Whole numbers below `under`, the same in every run. */
function draws(seed: number) {
  let state = seed;
  return (under: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * under);
  };
}

/** A layer whose heads lose random tokens at random cuts. */
function randomLayer(layer: number, heads: number, seen: number, next: (under: number) => number): LayerColumns {
  const evictedAt = Uint32Array.from({ length: heads * seen }, (_, at) => {
    const position = at % seen;
    return next(3) === 0 ? STILL_CACHED : position + 1 + next(seen - position);
  });
  const unknown = new Float32Array(heads * seen).fill(NaN);
  return new LayerColumns(layer, heads, seen, 1, seen, unknown, evictedAt, unknown);
}

test("what a query sees is counted as the definition says, for every query", () => {
  const next = draws(7);
  const columns = randomLayer(0, 3, 41, next);
  for (let head = 0; head < 3; head++) {
    const alive = aliveByQuery(columns, head);
    for (let query = 0; query < columns.seen; query++) {
      let expected = 0;
      for (let key = 0; key <= query; key++) if (query < columns.evictedAt[columns.at(head, key)]) expected += 1;
      assert.equal(alive[query], expected, `head ${head}, query ${query}`);
    }
  }
});

test("lives tell what is cached after each token, over the layers at hand", () => {
  const next = draws(11);
  const layers = [randomLayer(0, 2, 23, next), randomLayer(4, 2, 23, next)];
  const series = seriesOfLayers(layers);
  assert.deepEqual([series.count, series.heads], [23, 4]);
  for (let row = 0; row < series.count; row++) {
    const seen = row + 1;
    let [cached, evicted] = [0, 0];
    for (const layer of layers) {
      for (let head = 0; head < layer.heads; head++) {
        for (let key = 0; key < seen; key++) {
          const at = layer.evictedAt[layer.at(head, key)];
          if (at > seen) cached += 1;
          if (at === seen) evicted += 1;
        }
      }
    }
    assert.deepEqual([series.tokensSeen[row], series.cached[row], series.evicted[row]], [seen, cached, evicted]);
  }
  assert.equal(seriesOfLayers([]).count, 0);
});

/** Two heads: a prompt of 6 in one pass, cut to 2 each; then tokens one by one. */
const RUN: Series = { count: 4, tokensSeen: [6, 7, 8, 9], cached: [4, 6, 4, 6], evicted: [8, 0, 4, 0], heads: 2 };

test("inside a pass its tokens have entered and nothing has left", () => {
  assert.deepEqual([0, 3, 5, 6, 7, 9].map((tokens) => cachedAfter(RUN, tokens)), [0, 6, 10, 4, 6, 6]);
  assert.deepEqual([rowAt(RUN, 5), rowAt(RUN, 6), rowAt(RUN, 99)], [-1, 0, 3]);
});

test("a pixel shows the most that was cached and all that was evicted in it", () => {
  for (const pixels of [1, 2, 3, 5, 9, 40]) {
    const { cached, evicted } = columnsOf(RUN, 9, pixels);
    const most = new Float64Array(pixels).fill(-1);
    const sum = new Float64Array(pixels);
    for (let tokens = 1; tokens <= 9; tokens++) {
      // After s tokens lies in the pixel that ends at or after s / 9 of the width.
      const pixel = Math.ceil((tokens * pixels) / 9) - 1;
      most[pixel] = Math.max(most[pixel], cachedAfter(RUN, tokens));
      const row = RUN.tokensSeen as number[];
      if (row.includes(tokens)) sum[pixel] += RUN.evicted[row.indexOf(tokens)];
    }
    for (let pixel = 0; pixel < pixels; pixel++) if (most[pixel] < 0) most[pixel] = pixel === 0 ? 0 : most[pixel - 1];
    assert.deepEqual([...cached], [...most], `${pixels} pixels`);
    assert.deepEqual([...evicted], [...sum], `${pixels} pixels`);
  }
});

test("131,072 passes lose no eviction to pixels, and are spread quickly", () => {
  const count = 131_072;
  const tokensSeen = Uint32Array.from({ length: count }, (_, i) => i + 1);
  const cached = new Float64Array(count).fill(512);
  const evicted = new Float64Array(count);
  evicted[77_777] = 3;
  const spread = columnsOf({ count, tokensSeen, cached, evicted, heads: 1 }, count, 1200);
  assert.equal(spread.evicted.reduce((a, b) => a + b), 3);
  assert.equal(Math.min(...spread.cached), 512);
});

test("least and most of a pixel hold every value in it", () => {
  const values = Uint32Array.from([3, 9, 1, 4, 4, 8, 2]);
  assert.deepEqual([...rangeByPixel(values, 1).least, ...rangeByPixel(values, 1).most], [1, 9]);
  const fine = rangeByPixel(values, 14);
  assert.deepEqual([...fine.least], [...values].flatMap((value) => [value, value]));
  assert.deepEqual(fine.least, fine.most);
});
