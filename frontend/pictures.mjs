// The dashboard's pictures for README.md and docs/: `node pictures.mjs PROGRAM HEAD`, where HEAD (as L4H2) is the head shown.
import { spawn } from "node:child_process";
import { chromium } from "playwright-core";

const [program, shown] = process.argv.slice(2);
const [, layer, head] = /^L(\d+)H(\d+)$/.exec(shown);
const server = spawn(program, ["open", "--no-browser", "--port", "0"], { cwd: "/", stdio: ["ignore", "pipe", "inherit"] });
const base = await new Promise((resolve) => server.stdout.once("data", (text) => resolve(String(text).trim().replace(/\/$/, ""))));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing", "--disable-accelerated-2d-canvas", "--disable-background-networking", "--no-first-run"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
for (const screen of ["overview", "head", "text", "time"]) {
  // The pinned token is one that the head let go.
  const token = screen === "overview" ? "" : "&token=39";
  await page.goto(`${base}/t/codes?screen=${screen}&layer=${layer}&head=${head}${token}`);
  await page.waitForLoadState("networkidle");
  // Canvases are drawn in the frames after the last answer.
  await page.waitForTimeout(1500);
  await page.screenshot({ path: `../docs/dashboard-${screen}.png` });
}
await browser.close();
server.kill("SIGINT");
