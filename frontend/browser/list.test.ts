// The list of traces: search, order, delete and undo, what is damaged, a folder that is chosen or dropped.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Bench, copyOf, editManifest, skip } from "./harness";

let bench: Bench;
before(async () => {
  if (skip) return;
  bench = await Bench.open((traces) => {
    copyOf("sums", `${traces}/mine`);
    editManifest(`${traces}/mine`, { id: "mine", note: undefined, model: { name: "my-model", layers: 6, kv_heads: 4 } });
    copyOf("codes", `${traces}/broken`);
    writeFileSync(`${traces}/broken/manifest.json`, "{");
    mkdirSync(`${traces}/elsewhere`);
    copyOf("codes", `${traces}/elsewhere/hidden`);
  });
});
after(() => bench?.close());

const row = (page: Page, name: string) => page.getByRole("row").filter({ has: page.getByText(name, { exact: true }) });
const names = (page: Page) => page.locator("tr[data-key] .name").allTextContents();

test("bundled traces come first, each with what is to be seen in it; a damaged one says why", { skip }, async () => {
  await bench.page("/", async (page) => {
    await row(page, "mine").waitFor();
    assert.deepEqual((await names(page)).slice(0, 3).sort(), ["codes", "long", "sums"]);
    await row(page, "codes").getByText(/Asked for a code/).waitFor();
    assert.match((await row(page, "broken").textContent()) ?? "", /damaged.*manifest\.json|manifest\.json.*damaged/s);
    assert.equal(await row(page, "codes").getByRole("button", { name: "Delete codes" }).count(), 0, "a bundled trace can be deleted");
    await row(page, "long").getByRole("link", { name: "long", exact: true }).click();
    await page.waitForURL(/\/t\/long/);
  });
});

test("the list is searched as one types, and ordered by any column", { skip }, async () => {
  await bench.page("/", async (page) => {
    await row(page, "mine").waitFor();
    await page.keyboard.press("/");
    await page.keyboard.type("my-model");
    assert.deepEqual(await names(page), ["mine"]);
    await page.keyboard.type("x");
    await page.getByText("No trace holds “my-modelx”.").waitFor();
    await page.getByRole("button", { name: "Show all" }).click();
    await page.getByRole("button", { name: "Tokens" }).click();
    assert.equal((await names(page))[0], "long");
    assert.equal(await page.getByRole("columnheader", { name: "Tokens" }).getAttribute("aria-sort"), "descending");
    await page.getByRole("button", { name: "Tokens" }).click();
    assert.notEqual((await names(page))[0], "long");
    await page.locator("#find-traces").fill("sums");
    await page.waitForURL(/\?find=sums&sort=tokens$/);
    await page.reload();
    await row(page, "sums").waitFor();
    assert.equal(await page.locator("#find-traces").inputValue(), "sums");
    assert.equal(await page.getByRole("columnheader", { name: "Tokens" }).getAttribute("aria-sort"), "ascending");
  });
});

test("a trace is deleted, and brought back by Undo", { skip }, async () => {
  await bench.page("/", async (page) => {
    await row(page, "mine").getByRole("button", { name: "Delete mine" }).click();
    await page.getByText("Deleted mine.").waitFor();
    assert.equal(await row(page, "mine").count(), 0);
    assert.ok(!existsSync(`${bench.traces}/mine`), "it is still where it was");
    await page.getByRole("button", { name: "Undo" }).click();
    await row(page, "mine").waitFor();
    assert.ok(existsSync(`${bench.traces}/mine/manifest.json`));
  });
});

test("a trace is opened by its path; a path that is none is refused in a sentence", { skip }, async () => {
  await bench.page(
    "/",
    async (page) => {
      await row(page, "mine").waitFor();
      await page.keyboard.press("o");
      const dialog = page.getByRole("dialog", { name: "Open a trace by its path" });
      await dialog.getByRole("textbox").fill(`${bench.traces}/nowhere`);
      await page.keyboard.press("Enter");
      await dialog.getByRole("alert").waitFor();
      await dialog.getByRole("textbox").fill(`${bench.traces}/elsewhere/hidden`);
      await page.keyboard.press("Enter");
      await page.waitForURL(/\/t\//);
      await page.getByRole("main", { name: /^Overview of hidden/ }).waitFor();
    },
    { mayFail: /status of 4\d\d/ },
  );
});

test("a folder that is chosen is shown as a trace", { skip }, async () => {
  await bench.page("/", async (page) => {
    await row(page, "mine").waitFor();
    await page.locator("input[type=file]").setInputFiles(`${bench.traces}/elsewhere`);
    await page.waitForURL(/\/t\//);
    await page.getByRole("main", { name: /^Overview of hidden/ }).waitFor();
  });
});

test("a folder that is dropped is shown as a trace", { skip }, async () => {
  await bench.page("/", async (page) => {
    await row(page, "mine").waitFor();
    // Through the debugger, as only the browser itself can make a drop that holds a folder.
    const session = await page.context().newCDPSession(page);
    const data = { items: [], files: [`${bench.traces}/elsewhere`], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"] as const) await session.send("Input.dispatchDragEvent", { type, x: 400, y: 400, data });
    await page.waitForURL(/\/t\//, { timeout: 8000 });
    await page.getByRole("main", { name: /^Overview of hidden/ }).waitFor();
  });
});

test("a drop without a trace is refused in a sentence, and the page goes on", { skip }, async () => {
  await bench.page("/", async (page) => {
    await row(page, "mine").waitFor();
    const drop = (kind: string) =>
      page.evaluate((kind) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File(["?"], "notes.txt"));
        document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: transfer }));
      }, kind);
    await drop("dragenter");
    await page.getByText("Drop a trace’s folder to view it").waitFor();
    await drop("drop");
    await page.getByText(/notes\.txt is one file; a trace is a folder/).waitFor();
    assert.equal(await page.getByText("Drop a trace’s folder to view it").count(), 0);
  });
});
