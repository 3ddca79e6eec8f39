// One trace in its window: pictures that are right pixel by pixel, the way through it by keyboard, links into it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import { Bench, copyOf, editManifest, seenBy, skip, synthetic, withProbe } from "./harness";
import type { Compared, Probe } from "./probe";

declare const probe: Probe;

/** Where a head's cells are in its canvas, in CSS pixels: ROOM in views/triangle.tsx. */
const ROOM = { left: 76, top: 58, right: 58, bottom: 8 };

let bench: Bench;
before(async () => {
  if (skip) return;
  bench = await Bench.open((traces) => {
    synthetic(`${traces}/roomy`, "--tokens", "40", "--prompt", "12", "--budget", "64");
    copyOf("codes", `${traces}/cut-short`);
    editManifest(`${traces}/cut-short`, { id: "cut-short", status: "interrupted" });
    copyOf("codes", `${traces}/from-tomorrow`);
    editManifest(`${traces}/from-tomorrow`, { schema: "trimkv-trace/2" });
  });
});
after(() => bench?.close());

const screen = (page: Page, name: string) => page.getByRole("main", { name: new RegExp(`^${name} of`) });
const triangle = (page: Page) => page.getByRole("img", { name: /^Heatmap of/ });
const grid = (page: Page) => page.getByRole("img", { name: /^Thumbnails of/ });

/** Asks until the answer is right, as pictures are drawn when their data are here; then asserts it. */
async function settles(ask: () => Promise<Compared>): Promise<Compared> {
  let so = await ask();
  for (let tries = 0; so.wrong > 0 && tries < 20; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    so = await ask();
  }
  assert.equal(so.wrong, 0, `${so.wrong} of ${so.pixels} pixels are wrong; ${so.first}`);
  return so;
}

for (const painter of ["WebGL2", "canvas"] as const) {
  const also = painter === "canvas" ? "&painter=canvas" : "";
  for (const map of ["retention", "alive", "half-life"] as const) {
    test(`every pixel of a head shows its ${map}, by ${painter}`, { skip }, async () => {
      await bench.page(`/t/codes?screen=head&layer=4&head=2&map=${map}${also}`, async (page) => {
        await triangle(page).waitFor();
        await withProbe(page);
        const so = await settles(() => triangle(page).evaluate((canvas, [map, room]) => probe.headView(canvas as HTMLCanvasElement, "codes", 4, 2, map, room), [map, ROOM] as const));
        assert.ok(so.pixels > 50_000 && so.colours > (map === "alive" ? 2 : 20), `${so.pixels} pixels of ${so.colours} colours`);
        assert.equal(await page.getByText("Drawn without WebGL2").count(), painter === "canvas" ? 1 : 0);
      });
    });
  }

  test(`every pixel of a head's part shows its cells, by ${painter}`, { skip }, async () => {
    await bench.page(`/t/codes?screen=head&layer=4&head=0&zoom=40,80,60,100${also}`, async (page) => {
      await triangle(page).waitFor();
      await withProbe(page);
      const so = await settles(() => triangle(page).evaluate((canvas, room) => probe.headView(canvas as HTMLCanvasElement, "codes", 4, 0, "retention", room, [40, 80, 60, 100]), ROOM));
      assert.ok(so.colours > 20);
    });
  });

  test(`every pixel of every thumbnail shows its head, by ${painter}`, { skip }, async () => {
    await bench.page(`/t/codes?layer=5${also}`, async (page) => {
      await grid(page).waitFor();
      await withProbe(page);
      const so = await settles(() => grid(page).evaluate((canvas) => probe.thumbnails(canvas as HTMLCanvasElement, "codes", "retention", 26)));
      assert.ok(so.pixels > 50_000 && so.colours > 20, `${so.pixels} pixels of ${so.colours} colours`);
    });
  });
}

test("by keyboard from the overview to a head, to a token, to the text, and back by the Back button", { skip }, async () => {
  await bench.page("/t/codes", async (page) => {
    await screen(page, "Overview").waitFor();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("]");
    await page.getByRole("img", { name: /chosen: layer 1, head 1/ }).waitFor();
    await page.keyboard.press("Enter");
    await screen(page, "Head").waitFor();
    await page.getByRole("region", { name: "Layer 1, head 1" }).waitFor();
    await page.keyboard.press("j");
    await page.waitForURL(/token=0/);
    await page.keyboard.press("3");
    await screen(page, "Text").waitFor();
    assert.match(page.url(), /screen=text/);
    await page.goBack();
    await screen(page, "Head").waitFor();
    assert.match(page.url(), /token=0/);
    await page.goBack();
    await page.waitForURL((url) => !url.search.includes("token"));
    await page.goBack();
    await screen(page, "Overview").waitFor();
    await page.getByRole("img", { name: /chosen: layer 1, head 1/ }).waitFor();
  });
});

test("a link brings the whole view back", { skip }, async () => {
  await bench.page("/t/codes?screen=head&layer=3&head=1&token=48&map=half-life&ramp=cividis", async (page) => {
    await screen(page, "Head").waitFor();
    await page.getByRole("region", { name: "Layer 3, head 1" }).waitFor();
    await page.getByRole("img", { name: /^Heatmap of half-life in layer 3, head 1/ }).waitFor();
    assert.equal(await page.getByRole("combobox", { name: "Colour map" }).inputValue(), "cividis");
    await page.getByText(`48 of ${seenBy("codes") + 1}`).first().waitFor();
    const before = page.url();
    await page.reload();
    await page.getByRole("region", { name: "Layer 3, head 1" }).waitFor();
    assert.equal(page.url(), before);
  });
});

test("the palette finds heads and commands, and gives the focus back", { skip }, async () => {
  await bench.page("/t/codes", async (page) => {
    await grid(page).waitFor();
    const button = page.getByRole("button", { name: "Find a command, a head or a trace" });
    await button.focus();
    await page.keyboard.press("Control+k");
    const palette = page.getByRole("dialog", { name: "Command palette" });
    await palette.getByRole("option").first().waitFor();
    await page.keyboard.press("Escape");
    await palette.waitFor({ state: "detached" });
    assert.ok(await button.evaluate((element) => element === document.activeElement), "the focus is not where it was");
    await page.keyboard.press("Control+k");
    await page.keyboard.type("l3h1");
    await page.keyboard.press("Enter");
    await page.getByRole("region", { name: "Layer 3, head 1" }).waitFor();
  });
});

test("heads are searched by keyboard, and nothing moves as one types", { skip }, async () => {
  await bench.page("/t/codes", async (page) => {
    await grid(page).waitFor();
    const finder = page.getByRole("searchbox", { name: "Find heads" });
    const before = await finder.boundingBox();
    await page.keyboard.press("/");
    await page.keyboard.type("sinks");
    assert.equal(await finder.inputValue(), "sinks");
    assert.deepEqual(await finder.boundingBox(), before);
    await finder.fill("nonsense");
    assert.deepEqual(await finder.boundingBox(), before);
  });
});

test("a figure that cannot be made is refused in the server's words, and what it leaves out is named", { skip }, async () => {
  await bench.page(
    "/t/codes?screen=head&now=100",
    async (page) => {
      await triangle(page).waitFor();
      await page.keyboard.press("e");
      const dialog = page.getByRole("dialog", { name: "Export a figure" });
      await dialog.getByText("Not carried over: the chosen moment (101 tokens seen).").waitFor();
      await dialog.getByRole("img", { name: /^The figure/ }).waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      await page.route("**/figure/**", (route) => route.fulfill({ status: 400, contentType: "application/json", body: '{"error": "no room for 99 heads"}' }));
      await page.keyboard.press("e");
      await dialog.getByRole("alert").getByText("no room for 99 heads").waitFor();
    },
    { mayFail: /status of 400/ },
  );
});

test("the overlay names every key, and keys do nothing behind it", { skip }, async () => {
  await bench.page("/t/codes", async (page) => {
    await grid(page).waitFor();
    await page.keyboard.press("?");
    const keys = page.getByRole("dialog", { name: "Keys" });
    await keys.getByText("Same head, layer below").waitFor();
    await page.keyboard.press("3");
    await page.keyboard.press("Escape");
    await keys.waitFor({ state: "detached" });
    await screen(page, "Overview").waitFor();
  });
});

test("a run that evicted nothing says so, and one cut short says how far it came", { skip }, async () => {
  await bench.page("/t/roomy", async (page) => {
    await page.getByText(/^Nothing was evicted: the run saw 40 tokens, and a budget of 64 .*was never exceeded\.$/).waitFor();
  });
  await bench.page("/t/cut-short", async (page) => {
    await page.getByText(`This run was not finished; it is shown up to token ${seenBy("codes")}`).waitFor();
    assert.equal(await page.getByText("Nothing was evicted").count(), 0);
  });
});

test("what the checks only note does not look like a problem", { skip }, async () => {
  const colour = (page: Page, which: string) => page.locator(which).first().evaluate((element) => getComputedStyle(element).color);
  await bench.page("/t/codes", async (page) => {
    await page.getByText(/heads evicted position 0/).waitFor();
    assert.equal(await page.locator(".findings .problem").count(), 0);
    assert.equal(await colour(page, ".findings .note"), await colour(page, ".run-card dt"));
  });
});

test("a trace of a newer schema, and one that is not there, say what to do on a page of their own", { skip }, async () => {
  const mayFail = /status of (404|422)/;
  await bench.page("/t/from-tomorrow", async (page) => void (await page.getByText(/trimkv-trace\/2/).first().waitFor()), { mayFail });
  await bench.page("/t/nowhere", async (page) => void (await page.getByText(/there is no trace "nowhere"/).first().waitFor()), { mayFail });
});

test("a server that goes away is told, with a way to look again", { skip }, async () => {
  const other = await Bench.open();
  try {
    await other.page(
      "/t/codes",
      async (page) => {
        await grid(page).waitFor();
        await other.kill();
        await page.getByRole("alert").getByText("The server does not answer").waitFor({ timeout: 20_000 });
        await page.getByRole("button", { name: "Retry" }).click();
        await page.getByRole("alert").getByText("The server does not answer").waitFor();
        assert.ok(await grid(page).isVisible(), "what was on the page is gone");
      },
      { mayFail: /ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/ },
    );
  } finally {
    await other.close();
  }
});
