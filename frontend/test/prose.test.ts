import assert from "node:assert/strict";
import { test } from "node:test";
import { STILL_CACHED } from "../src/base/cells";
import type { Tokens } from "../src/data/model";
import { PROSE_COLOURS } from "../src/state/view";
import { Blocks, isUnseen, partStarting } from "../src/views/prose_blocks";
import { textBetween } from "../src/views/prose_copy";
import { BAR_STEPS, barStep, inkOf } from "../src/views/prose_ink";

/** A small generator, so that runs repeat. */
function random(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
}

function someText(count: number, lineEnds: number, seed: number): string[] {
  const next = random(seed);
  return Array.from({ length: count }, () => (next() < lineEnds ? ".\n" : [" the", "", "x", "\n\n a", "日"][Math.floor(next() * 5)]));
}

test("blocks hold every token once, in order, and say which of them holds a token", () => {
  for (const [count, lineEnds] of [[1, 0], [127, 1], [3000, 0], [5001, 0.01], [4099, 0.5]] as const) {
    const blocks = new Blocks();
    blocks.follow({ text: someText(count, lineEnds, count), count });
    let next = 0;
    for (let index = 0; index < blocks.count; index++) {
      const { from, to } = blocks.at(index);
      assert.equal(from, next);
      assert.ok(to > from && to - from <= 1024, `block of ${to - from}`);
      for (const position of [from, (from + to) >> 1, to - 1]) assert.equal(blocks.indexOf(position), index);
      next = to;
    }
    assert.equal(next, count);
  }
});

test("a block ends at a line end unless none comes for long", () => {
  const text = someText(6000, 0.05, 7);
  const blocks = new Blocks();
  blocks.follow({ text, count: text.length });
  for (let index = 0; index + 1 < blocks.count; index++) {
    const { from, to } = blocks.at(index);
    assert.ok(text[to - 1].endsWith("\n") || to - from === 1024);
  }
});

test("a text that grows has the blocks of the text it has grown to", () => {
  const text = someText(3000, 0.02, 3);
  const grown = new Blocks();
  for (const count of [0, 1, 130, 131, 1500, 1500, 3000]) grown.follow({ text, count });
  const whole = new Blocks();
  whole.follow({ text, count: 3000 });
  const list = (blocks: Blocks) => Array.from({ length: blocks.count }, (_, index) => [blocks.at(index), blocks.lines(index, 80)]);
  assert.deepEqual(list(grown), list(whole));
});

test("lines are guessed from line ends and widths", () => {
  const blocks = new Blocks();
  blocks.follow({ text: ["a".repeat(75), "\n", "\n", "b"], count: 4 });
  // 78 units at 25 to a line, and two line ends.
  assert.equal(blocks.lines(0, 25), 5);
});

function tokens(origin: number[], role: number[]): Tokens {
  const count = origin.length;
  const none = { tokenId: new Uint32Array(count), class: new Uint8Array(count), classNames: [], logprob: new Float32Array(count), entropy: new Float32Array(count) };
  return { count, text: origin.map(() => "x"), origin: Uint8Array.from(origin), role: Uint8Array.from(role), roleNames: ["user", "template", "assistant"], ...none };
}

test("a part is named where it begins, and the template's tokens belong to nobody", () => {
  const parts = tokens([0, 0, 0, 0, 1, 1, 1], [1, 0, 0, 1, 2, 2, 255]);
  const named = Array.from({ length: parts.count }, (_, position) => partStarting(parts, position));
  assert.deepEqual(named, ["prompt", "user", undefined, undefined, "generated, assistant", undefined, undefined]);
});

test("only tokens that leave nothing to point at get a sign", () => {
  for (const text of ["", "\u0000", "\u200b\u0301", "\r", "\u001b"]) assert.ok(isUnseen(text), JSON.stringify(text));
  for (const text of [" ", "\n", "\t", "a\u0301", "\n\u0000", "�", "\u3000"]) assert.ok(!isUnseen(text), JSON.stringify(text));
});

test("a token is kept until the query from which it is gone, and not born before its own", () => {
  const at = (now: number) => inkOf("alive", { position: 5, now, seen: 20, evictedAt: 9, logBeta: -0.1, longest: 1000 }).state;
  assert.deepEqual([4, 5, 8, 9, 19].map(at), ["unborn", "kept", "kept", "left", "left"]);
});

test("what was never read is said so under every colouring", () => {
  for (const colour of PROSE_COLOURS) assert.deepEqual(inkOf(colour, { position: 20, now: 19, seen: 20, longest: 1000 }), { state: "unread" });
});

test("bars are as long as what they stand for", () => {
  const known = { position: 3, now: 19, seen: 20, longest: 1000, logBeta: -Math.LN2 / 10, evictedAt: 15, keepers: 6, counted: 24 };
  assert.ok(Math.abs((inkOf("half-life", known).share ?? 0) - 1 / 3) < 1e-6);
  assert.deepEqual(inkOf("evicted-at", known), { state: "plain", share: 0.75 });
  assert.deepEqual(inkOf("evicted-at", { ...known, evictedAt: STILL_CACHED }), { state: "kept", share: 1 });
  assert.deepEqual(inkOf("keepers", known), { state: "plain", share: 0.25 });
  assert.deepEqual(inkOf("keepers", { ...known, keepers: 0 }), { state: "left" });
  assert.deepEqual(inkOf("keepers", { ...known, keepers: 24 }), { state: "kept", share: 1 });
  assert.deepEqual(inkOf("half-life", { ...known, logBeta: NaN }), { state: "unknown" });
  assert.deepEqual([0, 0.5, 1, 2].map(barStep), [0, BAR_STEPS / 2, BAR_STEPS, BAR_STEPS]);
});

test("the text between two places is exact, inside tokens and over empty ones", () => {
  const text = ["ab", "", "\n", "cde", "👩"];
  assert.equal(textBetween({ text }, { position: 0, unit: 1 }, { position: 3, unit: 2 }), "b\ncd");
  assert.equal(textBetween({ text }, { position: 3, unit: 1 }, { position: 3, unit: 2 }), "d");
  assert.equal(textBetween({ text }, { position: 0, unit: 0 }, { position: 4, unit: 2 }), text.join(""));
});
