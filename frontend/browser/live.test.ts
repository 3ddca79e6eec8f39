// A run that is started from the page grows on it, and ends.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Bench, skip } from "./harness";

let bench: Bench;
before(async () => {
  if (!skip) bench = await Bench.open();
});
after(() => bench?.close());

test("a run started by the form grows on screen, ends, and is in the list", { skip }, async () => {
  await bench.page("/", async (page) => {
    await page.getByRole("button", { name: "New run" }).first().click();
    const form = page.getByRole("dialog", { name: "New run" });
    // Outside its world the model writes on and on, long enough to be watched.
    await form.getByLabel("Prompt").fill("Tell me about the sea.");
    await form.getByLabel("Tokens to write").fill("600");
    await form.getByRole("button", { name: "Start" }).click();
    await page.waitForURL(/\/t\//);
    const seen = async () => Number(/([\d,]+) tokens/.exec((await page.locator("header.top").textContent()) ?? "")?.[1].replaceAll(",", "") ?? 0);
    await page.waitForFunction(() => /[1-9]\d* tokens/.test(document.querySelector("header.top")?.textContent ?? ""));
    const early = await seen();
    await page.getByText(/^ended|^complete/i).first().waitFor({ timeout: 60_000 });
    assert.ok((await seen()) > early, `${early} tokens when it was first looked at, ${await seen()} at the end`);
    await page.getByRole("link", { name: /list of traces/ }).click();
    await page.locator("tr[data-key] td.status", { hasText: "complete" }).nth(3).waitFor();
  });
});
