import assert from "node:assert/strict";
import { test } from "node:test";
import { whenWords } from "../src/base/when";
import { type Found, named, tracesAmong } from "../src/data/dropped";
import { formOf } from "../src/data/listing";
import type { Listed } from "../src/data/model";
import { fit, fitting } from "../src/state/fuzzy";
import { matching, nextSort, ordered, readList, statusOf, writeList } from "../src/state/trace_list";

const listed = (key: string, more: Partial<Listed> = {}): Listed => ({
  key, title: key, source: "local", path: null, status: "complete", created: null, model: null, policy: null, budget: null, buffer: null,
  tokens: null, prompt_tokens: null, layers: null, kv_heads: null, bytes: null, deletable: true, ...more,
});
const keys = (traces: readonly Listed[]) => traces.map(({ key }) => key).join(" ");

test("traces are found by all words that were typed, wherever they stand", () => {
  const all = [listed("one", { model: "Qwen3", policy: "trimkv" }), listed("two", { model: "Qwen3", error: "lifetimes.parquet is damaged" }), listed("three", { note: "a code" })];
  assert.equal(keys(matching(all, "")), "one two three");
  assert.equal(keys(matching(all, "QWEN trim")), "one");
  assert.equal(keys(matching(all, "damaged")), "two");
  assert.equal(keys(matching(all, "code")), "three");
});

test("what is unknown comes last in either order; equals stay as the server gives them", () => {
  const all = [listed("a", { tokens: 5 }), listed("b"), listed("c", { tokens: 9 }), listed("d", { tokens: 5 })];
  assert.equal(keys(ordered(all, { by: "tokens", down: true })), "c a d b");
  assert.equal(keys(ordered(all, { by: "tokens", down: false })), "a d c b");
  assert.equal(keys(ordered(all, null)), "a b c d");
});

test("a trace of a later program is not called damaged", () => {
  const error = "/t/manifest.json has schema trimkv-trace/2, and this version reads trimkv-trace/1; update the program";
  assert.equal(statusOf(listed("a", { error })), "newer version");
  assert.equal(statusOf(listed("a", { error: "lifetimes.parquet is damaged" })), "damaged");
  assert.equal(keys(matching([listed("a", { error })], "newer version")), "a");
});

test("the address keeps what is searched for and the order", () => {
  for (const sort of [null, { by: "tokens", down: true }, { by: "title", down: false }] as const) {
    for (const typed of ["", "Qwen & co"]) assert.deepEqual(readList(writeList({ typed, sort })), { typed, sort });
  }
  assert.equal(writeList({ typed: "", sort: null }), "");
  assert.deepEqual(readList("sort=nothing&order=down"), { typed: "", sort: null });
});

test("a column's title gives its own order, then the other, then the server's", () => {
  const first = nextSort(null, "tokens");
  assert.deepEqual(first, { by: "tokens", down: true });
  assert.deepEqual(nextSort(first, "tokens"), { by: "tokens", down: false });
  assert.equal(nextSort({ by: "tokens", down: false }, "tokens"), null);
  assert.deepEqual(nextSort(first, "title"), { by: "title", down: false });
});

test("typed letters must all be there in order; starts of words and neighbours are worth most", () => {
  assert.equal(fit("xz", "next zoom")?.at.join(), "2,5");
  assert.equal(fit("zx", "next zoom"), undefined);
  assert.deepEqual(fit("lst", "list of some")?.at, [0, 2, 3]);
  const titles = ["Show the head", "Light or dark", "Layer 12 head 3", "Layer 1 head 2"];
  const best = (typed: string) => fitting(typed, titles, (title) => title)[0]?.thing;
  assert.equal(best("layer 1 head 2"), "Layer 1 head 2");
  assert.equal(best("dark"), "Light or dark");
  assert.equal(best("sth"), "Show the head");
  assert.equal(best("qq"), undefined);
  const heads = Array.from({ length: 160 }, (_, index) => `Layer ${Math.floor(index / 4)} head ${index % 4}`);
  const first = (typed: string, many: number) => fitting(typed, ["Same head, layer below", ...heads], (title) => title).slice(0, many).map(({ thing }) => thing);
  assert.deepEqual(first("layer 3", 4), ["Layer 3 head 0", "Layer 3 head 1", "Layer 3 head 2", "Layer 3 head 3"]);
  assert.deepEqual(first("layer 3 ", 1), ["Layer 3 head 0"]);
  assert.deepEqual(first("head 3", 2), ["Layer 0 head 3", "Layer 1 head 3"]);
  assert.deepEqual(first("layer 3 head 1", 1), ["Layer 3 head 1"]);
  assert.deepEqual(fit("layer 3", "Layer 3 head 0")?.at, [0, 1, 2, 3, 4, 6]);
  assert.deepEqual(fitting("", titles, (title) => title).map(({ thing }) => thing), titles);
});

test("every folder with a manifest is a trace, and only its own files are taken", () => {
  const at = (path: string): Found => ({ path, file: new File(["12345"], path) });
  const found = tracesAmong([at("runs/a/manifest.json"), at("runs/a/tokens.parquet"), at("runs/a/notes.txt"), at("runs/b/manifest.json"), at("runs/c/tokens.parquet")]);
  assert.deepEqual(found.map(({ title, files, bytes }) => [title, files.map(({ name }) => name).join(), bytes]), [["a", "manifest.json,tokens.parquet", 10], ["b", "manifest.json", 5]]);
  assert.throws(() => tracesAmong([at("x/tokens.parquet"), at("x/y.txt")]), /none of the folders holds a manifest/);
  assert.throws(() => tracesAmong([at("photo.jpg")]), /photo\.jpg is one file; a trace is a folder/);
});

test("a trace keeps its folder's name on its way to the server; without a folder its manifest names it", async () => {
  const at = (path: string, text = "{}"): Found => ({ path, file: new File([text], path) });
  const sent = async (...found: Found[]) => formOf(await named(tracesAmong(found)[0])).getAll("file").map((file) => (file as File).name);
  assert.deepEqual(await sent(at("runs/a/manifest.json"), at("runs/a/tokens.parquet")), ["a/manifest.json", "a/tokens.parquet"]);
  assert.deepEqual(await sent(at("manifest.json", '{"id": "of/mine"}')), ["of-mine/manifest.json"]);
  assert.deepEqual(await sent(at("manifest.json", "{")), ["trace/manifest.json"]);
});

test("a moment is said as near as a reader needs it", () => {
  const now = new Date(2026, 10, 24, 15, 0);
  const said = (...at: [number, number, number, number, number]) => whenWords(new Date(...at).toISOString(), now);
  assert.equal(said(2026, 10, 24, 0, 5), "today 00:05");
  assert.equal(said(2026, 10, 23, 23, 59), "yesterday 23:59");
  assert.equal(said(2026, 10, 2, 8, 30), "2 Nov 08:30");
  assert.equal(said(2024, 1, 29, 8, 30), "29 Feb 2024");
  assert.equal(whenWords("long ago", now), "long ago");
});
