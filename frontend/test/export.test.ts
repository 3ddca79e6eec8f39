import assert from "node:assert/strict";
import { test } from "node:test";
import { INITIAL } from "../src/state/view";
import { carriedOver, figureAddress, figureCommand, flagsOf, presetOf } from "../src/views/export_links";

test("a figure is asked for with the flags of the command, from what the view shows", () => {
  const view = { ...INITIAL, screen: "time" as const, layer: 4, head: 1, token: 57, pins: [57, 90], now: 99, ramp: "grey" as const };
  assert.equal(presetOf(view), "lifeline");
  assert.deepEqual(flagsOf("lifeline", view, "5.5in"), [["width", "5.5in"], ["heads", "L4H1"], ["position", "57,90"]]);
  assert.deepEqual(flagsOf("text", view, "3.25in"), [["width", "3.25in"], ["heads", "L4H1"], ["at", "100"]]);
  assert.deepEqual(flagsOf("grid", view, "6.75in"), [["width", "6.75in"], ["colours", "grey"]]);
  assert.deepEqual(flagsOf("roles", view, "6.75in"), [["width", "6.75in"], ["x", "half_life"], ["y", "old_share"]]);
  assert.deepEqual(flagsOf("fig4", { ...view, ramp: "viridis", zoom: [39.5, 80, 60, 100] }, "5.5in").at(-1), ["brace", "39-79:zoomed"]);
  assert.deepEqual(flagsOf("fig4", { ...view, ramp: "viridis" }, "5.5in").at(-1), ["brace", "57-57:token 57"]);
  assert.deepEqual(flagsOf("text", { ...INITIAL, search: "class:digit" }, "5.5in").at(-1), ["circle", "digit"]);
  assert.equal(figureAddress("a b", "grid", "svg", [["width", "5.5in"]]), "/api/traces/a%20b/figure/grid.svg?width=5.5in");
  assert.equal(figureCommand("it's/x", "fig4", [["heads", "L4H1"]]), "trimkv-trace figure fig4 'it'\\''s/x' --heads L4H1 -o fig4.pdf");
});

test("what is on the screen and not in the figure is named", () => {
  assert.deepEqual(carriedOver("fig4", { ...INITIAL, layer: 4, head: 1 }), { shows: "retention above what was kept, of layer 4, head 1, over the whole run", lost: [] });
  const view = { ...INITIAL, now: 1233, zoom: [0, 10, 0, 10] as const, map: "half-life" as const };
  assert.deepEqual(carriedOver("fig4", view).lost, ["the chosen moment (1,234 tokens seen)", "the map of half-lives", "the zoom (a brace marks its keys)"]);
  assert.deepEqual(carriedOver("text", view).lost, []);
  assert.deepEqual(carriedOver("grid", { ...INITIAL, map: "alive", find: "sinks" }).lost, ["the search and order of heads"]);
  assert.deepEqual(carriedOver("text", { ...INITIAL, search: "class:digit" }).lost, []);
  assert.deepEqual(carriedOver("text", { ...INITIAL, search: "digit" }).lost, ["the search"]);
});
