import assert from "node:assert/strict";
import { test } from "node:test";
import { pan, reveal, whole, zoomAbout } from "../src/base/view_transform";
import { inOrder, readFind } from "../src/state/finder";
import { INITIAL, type View, readView, writeView } from "../src/state/view";
import { layOut, rectOf, slotAt } from "../src/views/grid_layout";

test("an address says what is not as at first, and reads back to the same view", () => {
  assert.equal(writeView(INITIAL), "");
  const view: View = {
    ...INITIAL,
    screen: "head", layer: 3, head: 1, token: 57, pins: [4, 9], now: 120, map: "half-life", form: "lanes",
    zoom: [1.5, 20, 3, 40.25], sort: "sparsity", find: "window > 200, sinks", scatter: ["turnover", "sink_rank"], search: "a&b=c ⏎",
  };
  assert.deepEqual(readView(writeView(view)), view);
});

test("an address that makes no sense is the first view", () => {
  assert.deepEqual(readView("screen=cellar&layer=-1&head=x&zoom=1,2&now=1e99&token=&pins=a,b&scatter=one&ramp=jet"), INITIAL);
});

const head = (layer: number, head: number, role: string, more: object = {}) => ({
  layer, head, scores: { layer, head, role, also: [], evidence: "", kept: 0, evicted: 0, mean_lifetime: null, median_half_life: null, occupancy: null, sparsity: null, turnover: null, ...more },
});
const heads = [head(0, 0, "sink"), head(0, 1, "window", { window_width: 250 }), head(1, 0, "double window", { window_width: 90 }), head(12, 1, "gist", { also: ["sink"] })];
const meant = (typed: string) => {
  const read = readFind(typed, ["sink", "window", "double window", "gist"], ["window_width"]);
  return "error" in read ? read.error : heads.filter(read.test).map(({ layer, head }) => `${layer}.${head}`);
};

test("the finder knows roles, places and comparisons, all of which must hold", () => {
  assert.deepEqual(meant(""), ["0.0", "0.1", "1.0", "12.1"]);
  assert.deepEqual(meant("sinks"), ["0.0", "12.1"]);
  assert.deepEqual(meant("window"), ["0.1"]);
  assert.deepEqual(meant("double windows"), ["1.0"]);
  assert.deepEqual(meant("layer 12"), ["12.1"]);
  assert.deepEqual(meant("L0H1"), ["0.1"]);
  assert.deepEqual(meant("window > 200"), ["0.1"]);
  assert.deepEqual(meant("window_width < 200, layer 1"), ["1.0"]);
  assert.match(String(meant("bananas")), /"bananas" is no role/);
  assert.match(String(meant("depth > 3")), /no score is called depth/);
});

test("heads are sorted from the highest score; those without it come last", () => {
  assert.deepEqual(inOrder(heads, "window_width").map(({ layer }) => layer), [0, 1, 0, 12]);
});

test("every thumbnail is found where it is drawn, by place and sorted", () => {
  for (const perLayer of [8, undefined]) {
    const all = Array.from({ length: 36 * 8 }, (_, i) => ({ layer: Math.floor(i / 8), head: i % 8 }));
    const layout = layOut(820, 520, all, perLayer, 26);
    assert.ok(layout.size >= 26, `thumbnails of ${layout.size} pixels`);
    all.forEach((head, index) => {
      const { x, y, size } = rectOf(layout, index);
      assert.ok(x + size <= 822, `${x} + ${size}`);
      assert.equal(slotAt(layout, x + size / 2, y + size / 2), head);
    });
  }
});

test("zooming keeps the cell under the pointer where it is, and stays inside the run", () => {
  const zoom = zoomAbout(whole(1000), 300, 700, 0.5, 1000);
  assert.equal((300 - zoom[0]) / (zoom[1] - zoom[0]), 0.3);
  assert.equal((700 - zoom[2]) / (zoom[3] - zoom[2]), 0.7);
  assert.deepEqual(zoomAbout(zoom, 300, 700, 100, 1000), whole(1000));
  assert.deepEqual(pan(zoom, -9999, 9999, 1000), [0, 500, 500, 1000]);
  assert.deepEqual(reveal([0, 10, 0, 10], 15, 5, 1000), [6, 16, 0, 10]);
});

test("when nothing fits at the smallest size, the grid is as wide as it can be", () => {
  const heads = Array.from({ length: 288 }, (_, i) => ({ layer: Math.floor(i / 8), head: i % 8 }));
  const sorted = layOut(860, 400, heads, undefined, 26);
  assert.ok(sorted.size >= 25, `thumbnails of ${sorted.size} pixels`);
  assert.ok(sorted.columns >= 28, `${sorted.columns} columns`);
  assert.ok(layOut(860, 300, heads, 8, 26).height < 900);
});
