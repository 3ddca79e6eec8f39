// The licences of what the bundle holds from others: every package that a file of the bundle came from.
import { readFile, readdir } from "node:fs/promises";

/** One text for all packages that esbuild read, by name. */
export async function licences(metafile) {
  const found = Object.keys(metafile.inputs).map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]);
  const packages = [...new Set(found.filter(Boolean))].sort();
  const texts = await Promise.all(
    packages.map(async (name) => {
      const home = `node_modules/${name}`;
      const { version, license } = JSON.parse(await readFile(`${home}/package.json`, "utf8"));
      const file = (await readdir(home)).find((file) => /^licen[cs]e/i.test(file));
      const text = file ? (await readFile(`${home}/${file}`, "utf8")).trim() : `Licensed as ${license}.`;
      return `${name} ${version} (${license})\n\n${text.replaceAll("\r\n", "\n")}\n`;
    }),
  );
  return `What static/ holds from others.\n\n${texts.join(`\n${"-".repeat(80)}\n\n`)}`;
}
