import assert from "node:assert/strict";
import { test } from "node:test";
import { keysByGroup } from "../src/views/keys_overlay";
import { whyNothingEvicted } from "../src/views/notices";
import { readable } from "../src/views/palette";

const steps = (...evicted: number[]) => ({ count: evicted.length, evicted });

test("a run that evicted nothing says why; one that did, or tells no steps, says nothing", () => {
  const policy = { name: "trimkv", budget: 64, buffer: 16 };
  assert.equal(whyNothingEvicted(steps(0, 3), policy, 500), undefined);
  assert.equal(whyNothingEvicted(steps(), policy, 500), undefined);
  assert.match(whyNothingEvicted(steps(0, 0), policy, 40) ?? "", /saw 40 tokens, and a budget of 64 and a buffer of 16 tokens per head was never exceeded/);
  assert.match(whyNothingEvicted(steps(0), { name: "full", budget: 0, buffer: 0 }, 40) ?? "", /a full cache keeps all 40 tokens/);
  assert.match(whyNothingEvicted(steps(0), { name: "own" }, 40) ?? "", /the policy own sets no budget/);
  assert.match(whyNothingEvicted(steps(0), policy, 5000) ?? "", /although/);
});

test("heads are found by the short names they have elsewhere", () => {
  assert.equal(readable("L3H1"), "layer 3 head 1");
  assert.equal(readable("layer 12"), "layer 12 ");
  assert.equal(readable("light"), "light");
});

test("commands without keys are not in the overlay", () => {
  const command = (id: string, group: "Go" | "Head", ...keys: string[]) => ({ id, title: id, group, keys, run: () => {} });
  const groups = keysByGroup([command("a", "Go", "a"), command("b", "Head"), command("c", "Head", "c"), command("d", "Go", "d")]);
  assert.deepEqual(groups.map(([group, list]) => [group, list.map(({ id }) => id).join()]), [["Go", "a,d"], ["Head", "c"]]);
});
