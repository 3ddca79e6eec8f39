import assert from "node:assert/strict";
import { test } from "node:test";
import { STILL_CACHED } from "../src/base/cells";
import { put } from "../src/data/growing";
import { type EventStream, Live } from "../src/data/live";
import { type SentStep, applyStep, readStep } from "../src/data/live_step";
import { Trace, here } from "../src/data/trace";
import { FakeSource, HEADS, LAYERS, bornLayer } from "./fake_source";

const base64 = (column: Float32Array | Uint32Array) => Buffer.from(column.buffer, column.byteOffset, column.byteLength).toString("base64");

/** What a server sends when one more token was read; `evicted` as [layer, head, position]. */
function sent(seen: number, evicted: [number, number, number][] = [], first = seen - 1): SentStep {
  const born = seen - first;
  return {
    first,
    seen,
    tokens: Array.from({ length: born }, (_, i) => ({
      position: first + i, token_id: 7, text: `w${first + i}`, origin: "generated", role: null, class: "word", logprob: -1, entropy: null,
    })),
    log_beta: base64(Float32Array.from({ length: LAYERS * HEADS * born }, (_, i) => -(i + 1) / 100)),
    evicted: base64(Uint32Array.from(evicted.flatMap(([layer, head, position]) => [layer * HEADS + head, position]))),
    cuts: evicted.map(([layer, head]) => ({ layer, head, cached_before: 5, kept: 4, threshold: -2, ties: 0 })),
    step: { phase: "decode", elapsed_us: 10, cached: 20, evicted: evicted.length },
    rate: 30,
    eta_seconds: 2,
    cache_bytes: 100,
    full_bytes: 400,
  };
}
const step = (...given: Parameters<typeof sent>) => readStep(JSON.stringify(sent(...given)));
const settle = async () => {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
};

async function opened(seen: number): Promise<{ trace: Trace; source: FakeSource }> {
  const source = new FakeSource();
  source.seen = seen;
  const trace = await Trace.open(source);
  await settle();
  return { trace, source };
}

/** All that a step can change, as plain values. */
function snapshot(trace: Trace) {
  const layers = [...trace.present()].map(({ layer, seen, heads, stride, logBeta, evictedAt }) => ({
    layer,
    seen,
    lives: Array.from({ length: heads }, (_, head) => [
      [...logBeta.slice(head * stride, head * stride + seen)],
      [...evictedAt.slice(head * stride, head * stride + seen)],
    ]),
  }));
  const cuts = [...trace.presentCuts()].map(([layer, answer]) => [layer, here(answer)]);
  return structuredClone({ layers, cuts, tokens: here(trace.tokens), steps: here(trace.steps), seen: trace.seen.value });
}

test("a column that came inside a larger buffer does not grow over its neighbour", () => {
  const shared = new Uint32Array([1, 2, 3, 4]);
  const grown = put(shared.subarray(0, 2), 2, 9);
  assert.deepEqual([...grown], [1, 2, 9]);
  assert.deepEqual([...shared], [1, 2, 3, 4]);
  const again = put(grown, 3, 8);
  assert.equal(again.buffer, grown.buffer, "there was room");
});

test("a step's births and departures reach the layer that is here", async () => {
  const { trace, source } = await opened(4);
  trace.layer(1);
  await settle();
  await source.lives.answer(bornLayer(1, HEADS, 4));
  assert.equal(applyStep(trace, step(5, [[1, 2, 3], [0, 2, 3]])), "applied");
  const [columns] = [...trace.present()];
  assert.equal(columns.seen, 5);
  // Row (layer 1, head 0) is the fourth of the step's heads.
  assert.equal(columns.logBeta[columns.at(0, 4)], Math.fround(-0.04));
  assert.equal(columns.evictedAt[columns.at(2, 3)], 5);
  assert.equal(columns.evictedAt[columns.at(0, 3)], STILL_CACHED);
  assert.equal(here(trace.tokens)?.text[4], "w4");
  assert.equal(here(trace.tokens)?.classNames[here(trace.tokens)!.class[4]], "word");
  assert.equal(here(trace.steps)?.cached[0], 20);
  assert.equal(trace.seen.value, 5);
});

test("the same steps twice, also one after a later one, change nothing more", async () => {
  const { trace, source } = await opened(4);
  trace.layer(0);
  trace.cuts(0);
  await settle();
  await source.lives.answer(bornLayer(0, HEADS, 4));
  const [one, two] = [step(5, [[0, 0, 1]]), step(7, [[0, 1, 2], [0, 0, 5]], 5)];
  applyStep(trace, one);
  applyStep(trace, two);
  const before = snapshot(trace);
  assert.equal(before.layers[0].lives[1][1][2], 7);
  assert.equal(here(trace.cuts(0))?.count, 3);
  for (const again of [one, two, one]) assert.equal(applyStep(trace, again), "applied");
  assert.deepEqual(snapshot(trace), before);
});

test("a step that follows one never heard is a gap", async () => {
  const { trace, source } = await opened(4);
  trace.layer(0);
  await settle();
  await source.lives.answer(bornLayer(0, HEADS, 4));
  assert.equal(applyStep(trace, step(9)), "gap");
  assert.equal([...trace.present()][0].seen, 4);
});

class FakeStream implements EventStream {
  readyState = 1;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  closed = false;
  private readonly heard = new Map<string, (event: MessageEvent<string>) => void>();
  constructor(readonly address: string) {}
  addEventListener(name: string, heard: (event: MessageEvent<string>) => void): void {
    this.heard.set(name, heard);
  }
  send(name: string, data: unknown): void {
    this.heard.get(name)?.({ data: JSON.stringify(data) } as MessageEvent<string>);
  }
  close(): void {
    this.closed = true;
    this.readyState = 2;
  }
}

/** A followed run whose clock the test turns. */
async function followed(seen: number) {
  const { trace, source } = await opened(seen);
  const streams: FakeStream[] = [];
  const waiting = new Set<() => void>();
  const waits: number[] = [];
  const live = new Live(trace, {
    open: (address) => {
      const stream = new FakeStream(address);
      streams.push(stream);
      return stream;
    },
    later: (what, ms) => {
      waits.push(ms);
      waiting.add(what);
      return () => waiting.delete(what);
    },
  });
  const tick = async () => {
    for (const what of [...waiting]) {
      waiting.delete(what);
      what();
    }
    await settle();
  };
  return { trace, source, live, streams, tick, waits };
}

test("a layer that arrives late is brought up to the steps that came meanwhile", async () => {
  const { trace, source, live, streams, tick } = await followed(4);
  assert.equal(streams[0].address, "events?after=4");
  streams[0].onopen?.();
  assert.equal(live.state.value, "live");
  trace.layer(0);
  await settle();
  for (const seen of [5, 6, 7]) streams[0].send("step", sent(seen, [[0, 0, seen - 4]]));
  await tick();
  assert.equal(trace.seen.value, 7);
  assert.equal(live.pulse.value?.rate, 30);
  // The server answered after its fifth token.
  await source.lives.answer(bornLayer(0, HEADS, 5));
  const [columns] = [...trace.present()];
  assert.equal(columns.seen, 7);
  assert.equal(columns.evictedAt[columns.at(0, 2)], 6);
  assert.equal(columns.evictedAt[columns.at(0, 3)], 7);
  live.close();
});

test("a layer whose answer is older than what was heard before it was asked for is brought up too", async () => {
  const { trace, source, live, streams, tick } = await followed(4);
  for (const seen of [5, 6, 7]) streams[0].send("step", sent(seen, [[1, 2, seen - 4]]));
  await tick();
  trace.layer(1);
  trace.cuts(1);
  await settle();
  // A server answers from files, which are behind what it tells.
  await source.lives.answer(bornLayer(1, HEADS, 5));
  const [columns] = [...trace.present()];
  assert.equal(columns.seen, 7);
  assert.equal(columns.evictedAt[columns.at(2, 3)], 7);
  assert.equal(live.state.value, "connecting", "nothing had to be asked for again");
  assert.equal(streams.length, 1);
  live.close();
});

test("told to, it asks for everything again and goes on from there", async () => {
  const { trace, source, live, streams, tick } = await followed(4);
  trace.layer(0);
  await settle();
  await source.lives.answer(bornLayer(0, HEADS, 4));
  source.seen = 20;
  streams[0].send("resync", {});
  assert.ok(streams[0].closed);
  await tick();
  assert.equal(source.factsAsked, 2);
  assert.equal(streams[1].address, "events?after=20");
  await source.lives.answer(bornLayer(0, HEADS, 20));
  streams[1].send("step", sent(21));
  await tick();
  assert.equal([...trace.present()][0].seen, 21);
  assert.equal(here(trace.tokens)?.count, 21);
  live.close();
});

test("a gap that asking again does not close is asked about ever more rarely", async () => {
  const { trace, source, live, streams, tick, waits } = await followed(4);
  trace.layer(0);
  await settle();
  await source.lives.answer(bornLayer(0, HEADS, 4));
  for (let round = 0; round < 3; round++) {
    streams.at(-1)?.send("step", sent(40));
    await tick();
    assert.equal(live.state.value, "reconnecting");
    await tick();
    await source.lives.answer(bornLayer(0, HEADS, 4));
    streams.at(-1)?.onopen?.();
  }
  assert.deepEqual(waits.filter((ms) => ms >= 1000), [1000, 2000, 4000]);
  live.close();
});

test("a server that stays away is called gone, and followed again when it is back", async () => {
  const { live, streams, tick } = await followed(4);
  streams[0].onopen?.();
  streams[0].readyState = 0;
  streams[0].onerror?.();
  assert.equal(live.state.value, "reconnecting");
  streams[0].onerror?.();
  streams[0].readyState = 2;
  streams[0].onerror?.();
  assert.equal(live.state.value, "gone");
  await tick();
  assert.equal(streams.length, 2, "a closed stream is opened anew");
  streams[1].onopen?.();
  assert.equal(live.state.value, "live");
  live.close();
});

test("a stream that is refused because the run is over ends it", async () => {
  const { live, source, streams, tick } = await followed(4);
  source.status = "complete";
  source.seen = 9;
  streams[0].readyState = 2;
  streams[0].onerror?.();
  assert.equal(live.state.value, "reconnecting");
  await tick();
  assert.deepEqual([live.state.value, live.outcome.value, streams.length], ["ended", "complete", 1]);
});

test("the end shows the last steps, then asks for what only a finished run has", async () => {
  const { trace, source, live, streams } = await followed(4);
  await settle();
  const before = source.headsAsked;
  streams[0].send("step", sent(5));
  streams[0].send("end", { status: "complete", seen: 5 });
  await settle();
  assert.equal(live.state.value, "ended");
  assert.equal(live.outcome.value, "complete");
  assert.equal(trace.seen.value, 5);
  assert.equal(source.headsAsked, before + 1);
  assert.ok(streams[0].closed);
});
