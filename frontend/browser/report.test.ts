// A report opened from a file, as by a double click: the dashboard without a server.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Bench, report, skip } from "./harness";

let bench: Bench;
before(async () => {
  if (!skip) bench = await Bench.open();
});
after(() => bench?.close());

test("a report shows overview, head, text and time, asks nobody for anything, and its address holds the view", { skip }, async () => {
  const file = join(bench.traces, "..", "codes.html");
  report("codes", file);
  const page = await bench.browser.newPage({ viewport: { width: 1280, height: 720 } });
  const faults: string[] = [];
  page.on("console", (message) => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("request", (request) => !/^(file|data|blob):/.test(request.url()) && faults.push(request.url()));
  await page.goto(`file://${file}`);
  await page.getByRole("button", { name: /gist/ }).first().waitFor();
  const colours = await page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>(".grid canvas");
    const pixels = canvas?.getContext("2d")?.getImageData(0, 0, canvas.width, canvas.height).data ?? [];
    return new Set(Array.from({ length: pixels.length / 4 }, (_, i) => (pixels[4 * i] << 16) | (pixels[4 * i + 1] << 8) | pixels[4 * i + 2])).size;
  });
  assert.ok(colours > 50, `${colours} colours in the overview`);

  await page.getByRole("button", { name: "Head", exact: true }).click();
  await page.getByText("Layer 0, head 0").waitFor();
  await page.keyboard.press("ArrowRight");
  await page.getByText("Layer 0, head 1").waitFor();
  assert.match(page.url(), /#.*screen=head.*head=1/);
  await page.getByRole("button", { name: "Text", exact: true }).click();
  await page.getByText("The code of Ned is").first().waitFor();
  await page.getByRole("button", { name: "Time", exact: true }).click();
  await page.getByText("Why evicted").waitFor();
  await page.reload();
  await page.getByText("Why evicted").waitFor();
  assert.deepEqual(faults, []);
  await page.close();
});
