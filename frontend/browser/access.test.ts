// What axe-core finds on every screen, light and dark; and that a narrow page scrolls one way only.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Bench, skip } from "./harness";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PAGES = {
  list: "/",
  overview: "/t/codes",
  head: "/t/codes?screen=head&layer=4&head=2&token=48",
  lanes: "/t/codes?screen=head&layer=4&head=2&form=lanes",
  text: "/t/codes?screen=text&token=48",
  time: "/t/codes?screen=time&token=48",
};

let bench: Bench;
before(async () => {
  if (!skip) bench = await Bench.open();
});
after(() => bench?.close());

/** Until nothing is being read any more. */
async function rests(page: Page): Promise<void> {
  await page.locator("#main").waitFor();
  await page.waitForFunction(() => document.querySelector(".waiting") === null);
  await page.waitForLoadState("networkidle");
}

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: { run(): Promise<{ violations: { id: string; help: string; nodes: { target: string[]; failureSummary: string }[] }[] }> } }).axe;
    const { violations } = await axe.run();
    return violations.flatMap(({ id, help, nodes }) => nodes.slice(0, 4).map(({ target, failureSummary }) => `${id}: ${help}: ${target.join(" ")}: ${failureSummary.split("\n")[1] ?? ""}`));
  });
}

for (const colorScheme of ["light", "dark"] as const) {
  for (const [name, path] of Object.entries(PAGES)) {
    test(`axe finds nothing on the ${name}, ${colorScheme}`, { skip }, async () => {
      await bench.page(
        path,
        async (page) => {
          await rests(page);
          assert.deepEqual(await violations(page), []);
        },
        { colorScheme },
      );
    });
  }

  for (const [name, key] of [["Command palette", "Control+k"], ["Keys", "?"]]) {
    test(`axe finds nothing on the dialog "${name}", ${colorScheme}`, { skip }, async () => {
      await bench.page(
        "/t/codes",
        async (page) => {
          await rests(page);
          await page.keyboard.press(key);
          await page.getByRole("dialog", { name }).waitFor();
          assert.deepEqual(await violations(page), []);
        },
        { colorScheme },
      );
    });
  }
}

for (const [name, path] of Object.entries(PAGES)) {
  test(`on a phone's width the ${name} does not scroll sideways`, { skip }, async () => {
    await bench.page(
      path,
      async (page) => {
        await rests(page);
        const { wide, room } = await page.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: innerWidth }));
        assert.ok(wide <= room, `the page is ${wide} pixels wide in a window of ${room}`);
      },
      { viewport: { width: 390, height: 844 } },
    );
  });
}
