// A real server, a real browser, and pages that must not complain: no console error, no page error, no request elsewhere.
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Browser, type BrowserContextOptions, type Page, chromium } from "playwright-core";

const ROOT = resolve(import.meta.dirname, "../..");
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const TRACER = process.env.TRIMKV_TRACE ?? join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug/trimkv-trace");

/** WebGL2 without a GPU, and no traffic of the browser's own. */
const ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing", "--disable-accelerated-2d-canvas", "--disable-background-networking", "--no-first-run"];

const missing = [CHROMIUM, TRACER].filter((path) => !existsSync(path));

/** Why browser tests are left out here, or false. Where REQUIRE_BROWSER is set, nothing may be left out. */
export const skip: string | false =
  missing.length === 0 ? false : `SKIPPED, not passed: there is no ${missing.join(" and no ")} (CHROMIUM and TRIMKV_TRACE name others)`;
if (skip && process.env.REQUIRE_BROWSER) throw new Error(skip);

/** What a page did that it must not. */
type Faults = string[];

export class Bench {
  private constructor(
    readonly origin: string,
    readonly browser: Browser,
    /** The directory whose traces are listed as one's own; gone when the bench is closed. */
    readonly traces: string,
    private readonly server: ChildProcess,
    private readonly directory: string,
  ) {}

  /** A server with the bundled traces and those that `prepare` puts into its directory. */
  static async open(prepare: (traces: string) => void = () => {}): Promise<Bench> {
    const directory = mkdtempSync(join(tmpdir(), "trimkv-trace-browser-"));
    const traces = join(directory, "traces");
    mkdirSync(traces);
    prepare(traces);
    const server = spawn(TRACER, ["open", "--no-browser", "--port", "0"], { cwd: directory, stdio: ["ignore", "pipe", "pipe"] });
    const origin = await addressOf(server);
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
    return new Bench(origin, browser, traces, server, directory);
  }

  /** Opens a page, hands it over, and holds that it did nothing it must not. */
  async page(path: string, use: (page: Page) => Promise<void>, options: BrowserContextOptions & { mayFail?: RegExp } = {}): Promise<void> {
    const { mayFail, ...context } = options;
    const inside = await this.browser.newContext({ viewport: { width: 1280, height: 720 }, ...context });
    try {
      const page = await inside.newPage();
      const faults = this.watch(page);
      await page.goto(this.origin + path);
      await use(page);
      assert.deepEqual(faults.filter((fault) => !mayFail?.test(fault)), [], `what ${path} did that it must not`);
    } finally {
      await inside.close();
    }
  }

  private watch(page: Page): Faults {
    const faults: Faults = [];
    page.on("console", (message) => {
      // Said because the page is put together on the CPU here, which makes the tests four times faster.
      if (message.text().includes("GL Driver Message (OpenGL, Performance")) return;
      if (message.type() === "error" || message.type() === "warning") faults.push(`console ${message.type()}: ${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => faults.push(`page error: ${error.message}`));
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.origin !== this.origin && !["data:", "blob:"].includes(url.protocol)) faults.push(`request outside: ${request.url()}`);
    });
    return faults;
  }

  /** Kills the server, as a crash would. */
  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.server.once("exit", resolve));
    this.server.kill("SIGKILL");
    await gone;
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.kill("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The address that the server prints. */
function addressOf(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = "";
    const read = (chunk: Buffer) => {
      said += chunk;
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
      if (found) resolve(found[0]);
    };
    server.stdout?.on("data", read);
    server.stderr?.on("data", read);
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${said}`)));
    server.once("error", reject);
  });
}

/** Copies a bundled trace. */
export function copyOf(bundled: string, to: string): void {
  cpSync(join(ROOT, "traces", bundled), to, { recursive: true });
}

/** How many tokens a bundled trace's run saw. The last that it wrote is not among them. */
export function seenBy(bundled: string): number {
  return JSON.parse(readFileSync(join(ROOT, "traces", bundled, "manifest.json"), "utf8")).seen;
}

/** Changes a trace's manifest. */
export function editManifest(trace: string, change: Record<string, unknown>): void {
  const path = join(trace, "manifest.json");
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...change }));
}

/** A trace with planted roles. */
export function synthetic(to: string, ...more: string[]): void {
  execFileSync(TRACER, ["synth", "--out", to, ...more], { stdio: "pipe" });
}

/** Defines `probe` (see probe.ts) in a page. By the debugger, which a page's content policy does not hold back. */
export async function withProbe(page: Page): Promise<void> {
  await page.evaluate(readFileSync(join(import.meta.dirname, "page/probe.js"), "utf8"));
}

/** Writes the report of a bundled trace. */
export function report(bundled: string, to: string): void {
  execFileSync(TRACER, ["report", join(ROOT, "traces", bundled), "-o", to], { stdio: "pipe" });
}
