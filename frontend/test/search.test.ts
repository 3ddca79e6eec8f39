import assert from "node:assert/strict";
import { test } from "node:test";
import { Haystack, Hits, MOST_HITS, matchesOf } from "../src/views/search_hits";
import { readSearch } from "../src/views/search_query";

const text = ["The", " code", "", " is", " 2", " 9", ".\n", "İs", " the", " code"];
const classNames = ["word", "digit"];
const tokens = { text, count: text.length, classNames, class: Uint8Array.from([0, 0, 0, 0, 1, 1, 0, 0, 0, 0]), tokenId: Uint32Array.from(text, (_, at) => at % 4) };

function found(typed: string): [number, number][] {
  const wanted = readSearch(typed, tokens);
  const hits = new Hits();
  const haystack = new Haystack(tokens);
  if (wanted.kind === "pattern") {
    for (const [start, end] of matchesOf(wanted.pattern, haystack.text)) hits.add(haystack.tokenAt(start), haystack.tokenAt(end - 1));
  } else if (wanted.kind === "tokens") {
    for (let at = 0; at < tokens.count; at++) if (wanted.matches(at)) hits.add(at, at);
  } else assert.fail(JSON.stringify(wanted));
  return hits.first.map((first, at) => [first, hits.last[at]]);
}

test("text is found over the borders of tokens, empty ones included", () => {
  assert.deepEqual(found("code is 2"), [[1, 4]]);
  assert.deepEqual(found(".\nİs"), [[6, 7]]);
});

test("small letters find capitals, capitals only themselves", () => {
  assert.deepEqual(found("the"), [[0, 0], [8, 8]]);
  assert.deepEqual(found("The"), [[0, 0]]);
});

test("signs of regular expressions are plain in text", () => {
  assert.deepEqual(found("9."), [[5, 6]]);
  assert.deepEqual(found("2 9|"), []);
  assert.deepEqual(found("/x"), []);
});

test("a regular expression has its flags, and matches of nothing are none", () => {
  assert.deepEqual(found("/\\d/"), [[4, 4], [5, 5]]);
  assert.deepEqual(found("/CODE$/i"), [[9, 9]]);
  assert.deepEqual(found("/x*/"), []);
  assert.deepEqual(found("/^İ/mu"), [[7, 7]]);
});

test("tokens are found by class, id and position", () => {
  assert.deepEqual(found("class:digit"), [[4, 4], [5, 5]]);
  assert.deepEqual(found("id:3"), [[3, 3], [7, 7]]);
  assert.deepEqual(found("at:9"), [[9, 9]]);
});

test("what cannot be looked for says why", () => {
  const why = (typed: string) => {
    const wanted = readSearch(typed, tokens);
    return wanted.kind === "error" ? wanted.why : wanted.kind;
  };
  assert.match(why("/[/"), /^not a regular expression: .*class/);
  assert.match(why("/a/q"), /^not a regular expression/);
  assert.equal(why("class:sigh"), 'no class is called "sigh"; there are word, digit');
  assert.equal(why("id:x"), "after id: a number is needed");
  assert.equal(why(""), "nothing");
});

test("only expressions that people write can run for long", () => {
  const trusted = (typed: string) => {
    const wanted = readSearch(typed, tokens);
    return wanted.kind === "pattern" && wanted.isTrusted;
  };
  assert.ok(trusted("(a+)+$"));
  assert.ok(!trusted("/(a+)+$/"));
});

test("hits are found by token, and two matches in the same tokens are one", () => {
  const hits = new Hits();
  for (const [first, last] of [[2, 4], [4, 4], [4, 4], [9, 12]]) hits.add(first, last);
  assert.equal(hits.count, 3);
  assert.deepEqual([1, 2, 3, 4, 5, 9, 12, 13].map((at) => hits.holding(at)), [undefined, 0, 0, 1, undefined, 2, 2, undefined]);
  assert.deepEqual([0, 2, 3, 5, 10].map((at) => hits.from(at)), [0, 0, 1, 2, 3]);
});

test("the list of hits has an end", () => {
  const hits = new Hits();
  for (let at = 0; at < MOST_HITS + 5; at++) hits.add(at, at);
  assert.equal(hits.count, MOST_HITS);
  assert.ok(hits.isFull);
});
