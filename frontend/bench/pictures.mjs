// The dashboard's pictures for README.md and docs/, of the trace `codes` that is inside the program:
//
//   node bench/pictures.mjs ../target/release/trimkv-trace L3H1      (the head that is shown)
import { browse, mark, serve } from "./served.mjs";

const [program, shown] = process.argv.slice(2);
const [, layer, head] = /^L(\d+)H(\d+)$/.exec(shown);
const { base, end } = await serve(program, []);
const browser = await browse();
const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
for (const screen of ["overview", "head", "text", "time"]) {
  // The pinned token is one of the story's early words.
  const token = screen === "overview" ? "" : "&token=39";
  await page.goto(`${base}/t/codes?screen=${screen}&layer=${layer}&head=${head}${token}`);
  if (screen === "overview") await mark(page, "all-thumbnails", 60_000);
  await page.waitForLoadState("networkidle");
  // Canvases are drawn in the frames after the last answer.
  await page.waitForTimeout(1500);
  await page.screenshot({ path: `../docs/dashboard-${screen}.png` });
}
await browser.close();
end();
