import assert from "node:assert/strict";
import { test } from "node:test";
import { type RunOptions, firstFields, readRun } from "../src/views/run_request";

const OPTIONS: RunOptions = {
  available: true,
  models: [{ name: "builtin", title: "Built-in", budget: 64, buffer: 16 }],
  policies: [{ name: "trimkv", title: "TRIM-KV", needs_gates: true }, { name: "full", title: "Full", needs_gates: false }],
  device: "cpu",
};
const fields = () => ({ ...firstFields(OPTIONS), prompt: "Why?\n" });

test("the form as it opens needs a prompt and nothing else", () => {
  assert.deepEqual(Object.keys((readRun(firstFields(OPTIONS)) as { errors: object }).errors), ["prompt"]);
  assert.deepEqual(readRun(fields()), {
    request: { prompt: "Why?\n", model: "builtin", policy: "trimkv", budget: 64, buffer: 16, seed: 0, max_new_tokens: 256 },
  });
});

test("the full cache is asked for without a budget, whatever the field has", () => {
  const read = readRun({ ...fields(), policy: "full", budget: "nonsense" });
  assert.ok("request" in read && !("budget" in read.request) && !("buffer" in read.request));
});

test("each field that is wrong is named, and only those that count", () => {
  const wrong = { ...fields(), budget: "0", buffer: "-1", seed: "1.5", tokens: "", temperature: "x", topP: "2" };
  const named = (read: ReturnType<typeof readRun>) => ("errors" in read ? Object.keys(read.errors) : []);
  assert.deepEqual(named(readRun(wrong)), ["budget", "buffer", "seed", "tokens"]);
  assert.deepEqual(named(readRun({ ...wrong, draw: "sample" })), ["budget", "buffer", "seed", "tokens", "temperature", "topP"]);
});

test("numbers may be grouped, and drawing takes its two numbers along", () => {
  const read = readRun({ ...fields(), budget: "1,024", draw: "sample", temperature: "0.7", topP: "1" });
  assert.ok("request" in read);
  assert.deepEqual([read.request.budget, read.request.temperature, read.request.top_p], [1024, 0.7, 1]);
});
