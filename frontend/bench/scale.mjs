// What the dashboard costs as traces grow: time to the first and the last thumbnail, memory of the page's process, bytes and
// time of the server's answers, frames while the triangle is panned.
//
//   trimkv-trace synth --layers 36 --heads 8 --tokens 4207 --budget 1024 --buffer 128 -o runs/t4207      (and others)
//   node bench/scale.mjs ../target/release/trimkv-trace runs/t4207 runs/t32768
//
// Prints a Markdown table. Unless GPU=1, WebGL2 runs on the CPU (SwiftShader) and the page is put together on the CPU too.
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { browse, mark, serve } from "./served.mjs";

const [program, ...traces] = process.argv.slice(2);
const { base, end } = await serve(program, traces);

/** Resident bytes of a process. */
function resident(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const mega = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

async function request(path) {
  const start = performance.now();
  const bytes = (await (await fetch(base + path)).arrayBuffer()).byteLength;
  return { ms: performance.now() - start, bytes };
}

/** Milliseconds from one frame to the next while the triangle is panned. */
async function pan(page) {
  return page.evaluate(async () => {
    const times = [];
    const press = (key) => dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    for (let i = 0; i < 4; i++) press("w");
    let last = await new Promise(requestAnimationFrame);
    for (let i = 0; i < 40; i++) {
      press(i % 20 < 10 ? "d" : "a");
      const now = await new Promise(requestAnimationFrame);
      times.push(now - last);
      last = now;
    }
    return times;
  });
}

const rows = [];
for (const trace of traces) {
  const key = basename(trace);
  const browser = await browse();
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  const session = await browser.newBrowserCDPSession();
  await page.goto(`${base}/t/${key}`);
  const first = await mark(page, "first-thumbnails", 120_000);
  const all = await mark(page, "all-thumbnails", 600_000);
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const renderers = () => processInfo.filter(({ type }) => type === "renderer").map(({ id }) => resident(id));
  const overview = Math.max(...renderers());
  await page.keyboard.press("2");
  await page.waitForSelector(".triangle canvas", { timeout: 120_000 });
  await page.waitForTimeout(1500);
  const frames = await pan(page);
  const head = Math.max(...renderers());
  await browser.close();
  const layer = [await request(`/api/traces/${key}/lifetimes?layer=20`), await request(`/api/traces/${key}/lifetimes?layer=21`), await request(`/api/traces/${key}/lifetimes?layer=22`)];
  const pooled = await request(`/api/traces/${key}/lifetimes?layer=23&pool=32`);
  rows.push([
    key, `${(first / 1000).toFixed(2)} s`, `${(all / 1000).toFixed(1)} s`, mega(overview), mega(head),
    `${median(frames).toFixed(0)} / ${Math.max(...frames).toFixed(0)} ms`,
    `${median(layer.map(({ ms }) => ms)).toFixed(0)} ms, ${mega(layer[0].bytes)}`, `${pooled.ms.toFixed(0)} ms, ${(pooled.bytes / 1000).toFixed(0)} kB`,
  ]);
}
console.log("| trace | first thumbnails | all thumbnails | page, overview | page, head | pan, frame (median / worst) | one layer | one layer, 32 tokens an entry |");
console.log("|---|---|---|---|---|---|---|---|");
for (const row of rows) console.log(`| ${row.join(" | ")} |`);
end();
