// The shader, and the canvas painter, show of random lives what Rust says they must. See tests/integration/cells.rs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ALIVE, EVICTED, UNBORN } from "../src/base/cells";
import { colourOf, rampTable } from "../src/base/colour";
import { Bench, skip, withProbe } from "./harness";
import type { CellsFixture, Probe } from "./probe";

declare const probe: Probe;

const fixture: CellsFixture = JSON.parse(readFileSync(join(import.meta.dirname, "../../tests/fixtures/cells.json"), "utf8"));
const colours = { unborn: [1, 2, 3], evicted: [90, 80, 70], alive: [10, 220, 120], unknown: [250, 10, 250] } as const;
const KINDS = ["retention", "alive", "half-life"] as const;

let bench: Bench;
before(async () => {
  if (!skip) bench = await Bench.open();
});
after(() => bench?.close());

for (const painter of ["WebGL2", "canvas 2D"] as const) {
  test(`${painter} paints every block of the fixture's random traces as Rust says`, { skip }, async () => {
    await bench.page("/", async (page) => {
      await withProbe(page);
      const painted = await page.evaluate(
        ([fixture, painter, looks]) => probe.paintBlocks(fixture, painter, looks as never),
        [fixture, painter, { colours, kinds: KINDS }] as const,
      );
      const table = rampTable("viridis", false);
      let compared = 0;
      fixture.traces.forEach(({ blocks }, trace) =>
        KINDS.forEach((kind, at) =>
          blocks.forEach((block, x) => {
            const state = { unborn: UNBORN, evicted: EVICTED, alive: ALIVE }[block.state];
            const value = { retention: block.retention, alive: block.alive, "half-life": block.half_life }[kind] ?? NaN;
            // A step of the ramp either way is rounding; the state is not.
            const within = [-1, 0, 1].map((step) => colourOf({ state, value: kind === "alive" ? value : value + step / 255 }, kind, colours, table));
            const found = painted[trace][at][x];
            const isRight = within.some((wanted) => wanted.every((part, i) => Math.abs(part - found[i]) <= 1));
            assert.ok(isRight, `trace ${trace}, ${kind}, keys ${block.keys}, queries ${block.queries}: rgb ${found} instead of ${within[1]}`);
            compared += 1;
          }),
        ),
      );
      assert.ok(compared > 1000);
    });
  });
}
