// Bundles the dashboard into ../static, which the binary embeds. `--watch` rebuilds on change; `--tests` and `--browser`
// bundle those tests for Node's own runner; `--check` fails when ../static is not what the sources give.
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { build, context } from "esbuild";
import { licences } from "./licences.mjs";

const loader = { ".glsl": "text", ".rgb": "binary", ".woff2": "file", ".txt": "text" };
const page = {
  // The second runs regular expressions beside the page.
  entryPoints: { app: "src/main.tsx", search: "src/views/search_worker.ts" },
  outdir: "../static",
  bundle: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "none",
  assetNames: "fonts/[name]",
  loader,
  logLevel: "warning",
};

async function tests(folder, out) {
  await rm(out, { recursive: true, force: true });
  const files = (await readdir(folder)).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...page,
    entryPoints: files.map((name) => `${folder}/${name}`),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    packages: "external",
    minify: false,
    sourcemap: "inline",
  });
}

/** The tests, and what they run inside a page. */
async function browserTests() {
  await tests("browser", ".browser");
  await build({ ...page, entryPoints: ["browser/probe.ts"], outdir: ".browser/page", format: "iife", minify: false });
}

/** Every file of ../static, by path. */
async function made() {
  const { outputFiles, metafile } = await build({ ...page, write: false, metafile: true });
  const texts = { path: resolve("../static/LICENCES.txt"), contents: Buffer.from(await licences(metafile)) };
  return [...outputFiles, texts];
}

async function write() {
  for (const { path, contents } of await made()) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, contents);
  }
}

async function check() {
  for (const { path, contents } of await made()) {
    const committed = await readFile(path).catch(() => undefined);
    if (!committed || !committed.equals(contents)) {
      console.error(`${path} is not what frontend/src gives; run \`npm run build\` in frontend/ and commit the result`);
      process.exitCode = 1;
    }
  }
}

const [flag] = process.argv.slice(2);
if (flag === "--watch") await (await context(page)).watch();
else if (flag === "--tests") await tests("test", ".tests");
else if (flag === "--browser") await browserTests();
else if (flag === "--check") await check();
else await write();
