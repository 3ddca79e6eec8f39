// Which figure says on paper what a screen shows, and the address that makes it.
import type { View } from "../state/view";

export type Preset = "fig4" | "grid" | "text" | "lifeline" | "roles" | "budget";

export const PRESETS: readonly (readonly [Preset, string])[] = [
  ["fig4", "Retention over kept, of the chosen head"],
  ["grid", "All heads"],
  ["text", "The prose, kept tokens in bold"],
  ["lifeline", "Life lines: scores against the threshold"],
  ["roles", "Roles by depth, and scores"],
  ["budget", "Entries held over time"],
];
export const WIDTHS = ["3.25in", "5.5in", "6.75in"] as const;
export const FORMATS = ["pdf", "svg", "png", "csv", "tex", "json"] as const;

/** The figure nearest to what is on the screen. */
export function presetOf(view: View): Preset {
  switch (view.screen) {
    case "overview":
      return "grid";
    case "head":
      return "fig4";
    case "text":
      return "text";
    case "time":
      return "lifeline";
  }
}

/** The flags of `trimkv-trace figure` that give a preset what the view shows. */
export function flagsOf(preset: Preset, view: View, width: string): [string, string][] {
  const flags: [string, string][] = [["width", width]];
  if (preset === "fig4" || preset === "text" || preset === "lifeline") flags.push(["heads", `L${view.layer}H${view.head}`]);
  if ((preset === "fig4" || preset === "grid" || preset === "budget") && view.ramp !== "viridis") flags.push(["colours", view.ramp]);
  if (preset === "text" && view.now !== null) flags.push(["at", String(view.now + 1)]);
  if (preset === "lifeline") {
    const followed = [...new Set([...(view.token === null ? [] : [view.token]), ...view.pins])];
    if (followed.length > 0) flags.push(["position", followed.join(",")]);
  }
  return flags;
}

/** Where the server makes the figure. */
export function figureAddress(key: string, preset: Preset, format: string, flags: readonly [string, string][]): string {
  return `/api/traces/${encodeURIComponent(key)}/figure/${preset}.${format}?${new URLSearchParams(flags.map(([name, value]) => [name, value]))}`;
}

/** The command that makes the same figure. */
export function figureCommand(trace: string, preset: Preset, flags: readonly [string, string][]): string {
  const quoted = (text: string) => (/^[\w./,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  return ["trimkv-trace figure", preset, quoted(trace), ...flags.map(([name, value]) => `--${name} ${quoted(value)}`), `-o ${preset}.pdf`].join(" ");
}
