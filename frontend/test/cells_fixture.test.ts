// The page's cells agree with Rust's, on random traces. See tests/integration/cells.rs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { CellsFixture } from "../browser/probe";
import { ALIVE, EVICTED, type HeadColumns, STILL_CACHED, UNBORN, shownIn } from "../src/base/cells";

const fixture: CellsFixture = JSON.parse(readFileSync(join(import.meta.dirname, "../../tests/fixtures/cells.json"), "utf8"));

test("every block of the fixture's random traces shows what Rust says", () => {
  let compared = 0;
  fixture.traces.forEach(({ log_beta, evicted_at, longest, blocks }, trace) => {
    const seen = evicted_at.length;
    const head: HeadColumns = {
      logBeta: Float32Array.from({ length: seen }, (_, at) => log_beta?.[at] ?? NaN),
      evictedAt: Uint32Array.from(evicted_at, (at) => at ?? STILL_CACHED),
      start: 0, pool: 1, seen,
    };
    for (const { keys, queries, state, ...values } of blocks) {
      const block = { key0: keys[0], key1: keys[1], query0: queries[0], query1: queries[1] };
      for (const [kind, wanted] of [["retention", values.retention], ["alive", values.alive], ["half-life", values.half_life]] as const) {
        const shown = shownIn(head, block, kind, longest);
        const where = `trace ${trace}, ${kind}, keys ${keys}, queries ${queries}`;
        assert.equal(shown.state, { unborn: UNBORN, evicted: EVICTED, alive: ALIVE }[state], where);
        if (state !== "alive") continue;
        if (wanted === null) assert.ok(Number.isNaN(shown.value), where);
        else assert.ok(Math.abs(shown.value - wanted) < 1e-9, `${where}: ${shown.value} instead of ${wanted}`);
        compared += 1;
      }
    }
  });
  assert.ok(compared > 100);
});
