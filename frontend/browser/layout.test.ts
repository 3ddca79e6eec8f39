// Pages stay within their window, and the text follows "now" until the reader scrolls.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Bench, seenBy, skip } from "./harness";

const WIDTHS = [1280, 1024, 800, 390];

let bench: Bench;
before(async () => {
  if (!skip) bench = await Bench.open();
});
after(() => bench?.close());

async function isWithin(page: Page, what: string): Promise<void> {
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: width === 390 ? 844 : 720 });
    await page.waitForTimeout(80);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${what} is ${wide} wide in a window of ${width}`);
  }
}

/** Waits until a token is on the page and in sight within the text. */
const inSight = (page: Page, position: number) =>
  page.waitForFunction((position) => {
    const token = document.querySelector(`.prose [data-position="${position}"]`)?.getBoundingClientRect();
    const box = document.querySelector(".prose")?.getBoundingClientRect();
    return token !== undefined && box !== undefined && token.top >= box.top && token.bottom <= box.bottom;
  }, position);

/** Waits until the address, which follows a moment later, tells the scrubber's now, and until that token is in sight. */
async function isNowInSight(page: Page): Promise<void> {
  const now = await page.waitForFunction(() => {
    const now = document.querySelector(".scrubber")?.getAttribute("aria-valuenow");
    return now !== undefined && new URLSearchParams(location.search).get("now") === now && now;
  });
  await inSight(page, Number(await now.jsonValue()));
}

for (const screen of ["overview", "head", "text", "time"]) {
  test(`the ${screen} of a finished run is as wide as its window, at most`, { skip }, async () => {
    await bench.page(`/t/codes?screen=${screen}&token=48`, async (page) => {
      await page.getByRole("main", { name: new RegExp(`^${screen} of`, "i") }).waitFor();
      await isWithin(page, screen);
    });
  });
}

test("the text comes to the now of a link, of a step, of the end, and of playing", { skip }, async () => {
  await bench.page("/t/long?screen=text&now=2000", async (page) => {
    await inSight(page, 2000);
    await page.keyboard.press("End");
    await inSight(page, seenBy("long") - 1);
    await page.keyboard.press("Home");
    await inSight(page, 0);
    await page.locator(".scrubber").focus();
    for (let pages = 0; pages < 5; pages++) await page.keyboard.press("PageUp");
    await page.waitForFunction(() => Number(document.querySelector(".scrubber")?.getAttribute("aria-valuenow")) > 1000);
    await isNowInSight(page);
    await page.locator(".prose").hover();
    await page.mouse.wheel(0, 6000);
    await page.locator("button.follow").waitFor();
    await page.waitForTimeout(100);
    const before = await page.locator(".prose").evaluate((prose) => prose.scrollTop);
    await page.locator(".scrubber").focus();
    await page.keyboard.press("ArrowRight");
    await page.waitForTimeout(200);
    assert.equal(await page.locator(".prose").evaluate((prose) => prose.scrollTop), before, "a step moved a reader who had scrolled");
    await page.locator("button.follow").click();
    await page.locator("button.follow").waitFor({ state: "detached" });
    await isNowInSight(page);
    await page.getByRole("button", { name: "Play" }).click();
    await page.waitForTimeout(1200);
    await page.getByRole("button", { name: "Pause" }).click();
    await page.waitForTimeout(700);
    await isNowInSight(page);
  });
});
