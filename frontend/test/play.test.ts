import assert from "node:assert/strict";
import { test } from "node:test";
import { SPEEDS, movedOn, speedFor } from "../src/views/play";

test("a run plays within about twenty seconds unless it is too long for the highest speed", () => {
  for (const tokens of [10, 517, 4114, 131_072]) assert.ok(tokens / speedFor(tokens) <= 20, `${tokens} tokens`);
  assert.equal(speedFor(10_000_000), SPEEDS.at(-1));
  assert.equal(speedFor(10), SPEEDS[0]);
});

test("time moves now on by speed, slower than a token a frame too, and stops at the last token", () => {
  let position = 0;
  for (let frame = 0; frame < 60; frame++) position = movedOn(position, 1000 / 60, 2, 100) ?? Infinity;
  assert.ok(Math.abs(position - 2) < 1e-9);
  assert.equal(movedOn(98.5, 1000, 2, 100), null);
});
