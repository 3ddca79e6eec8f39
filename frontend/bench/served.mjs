// A server with some traces, and a Chromium to look at it: what the scripts beside the tests share.
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { chromium } from "playwright-core";

/** Serves `traces`; gives the address and what ends the server. */
export async function serve(program, traces) {
  const server = spawn(resolve(program), ["open", "--no-browser", "--port", "0", ...traces], { stdio: ["ignore", "pipe", "inherit"] });
  const base = await new Promise((found) => server.stdout.once("data", (text) => found(String(text).trim().replace(/\/$/, ""))));
  return { base, end: () => server.kill("SIGINT") };
}

/** Unless GPU=1, WebGL2 runs on the CPU (SwiftShader) and the page is put together on the CPU too. */
export function browse() {
  const drawing = process.env.GPU ? [] : ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing", "--disable-accelerated-2d-canvas"];
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-background-networking", "--no-first-run", ...drawing] });
}

/** Waits until a page has said that it reached a point, and gives when it did. */
export async function mark(page, name, timeout) {
  await page.waitForFunction((name) => performance.getEntriesByName(name).length > 0, name, { timeout, polling: 50 });
  return page.evaluate((name) => performance.getEntriesByName(name)[0].startTime, name);
}
