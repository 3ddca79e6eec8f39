import assert from "node:assert/strict";
import { test } from "node:test";
import { INITIAL } from "../src/state/view";
import { figureAddress, figureCommand, flagsOf, presetOf } from "../src/views/export_links";

test("a figure is asked for with the flags of the command, from what the view shows", () => {
  const view = { ...INITIAL, screen: "time" as const, layer: 4, head: 1, token: 57, pins: [57, 90], now: 99, ramp: "grey" as const };
  assert.equal(presetOf(view), "lifeline");
  assert.deepEqual(flagsOf("lifeline", view, "5.5in"), [["width", "5.5in"], ["heads", "L4H1"], ["position", "57,90"]]);
  assert.deepEqual(flagsOf("text", view, "3.25in"), [["width", "3.25in"], ["heads", "L4H1"], ["at", "100"]]);
  assert.deepEqual(flagsOf("grid", view, "6.75in"), [["width", "6.75in"], ["colours", "grey"]]);
  assert.deepEqual(flagsOf("roles", view, "6.75in"), [["width", "6.75in"]]);
  assert.equal(figureAddress("a b", "grid", "svg", [["width", "5.5in"]]), "/api/traces/a%20b/figure/grid.svg?width=5.5in");
  assert.equal(figureCommand("it's/x", "fig4", [["heads", "L4H1"]]), "trimkv-trace figure fig4 'it'\\''s/x' --heads L4H1 -o fig4.pdf");
});
