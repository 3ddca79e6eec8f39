// Which figure says on paper what a screen shows, and the address that makes it.
import { count } from "../base/format";
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

/** What a figure shows, whatever the screen does. */
const SHOWS: Record<Preset, (head: string) => string> = {
  fig4: (head) => `retention above what was kept, of ${head}, over the whole run`,
  grid: () => "what every head kept, over the whole run",
  text: (head) => `the whole text, bold where ${head} holds the token`,
  lifeline: (head) => `scores of up to ${MOST_FOLLOWED} tokens and the threshold of ${head}, over the whole run`,
  roles: () => "the roles of every layer's heads, and all heads over two scores",
  budget: () => "entries that every head holds, over the whole run",
};

/** Tokens that a figure of life lines has room for. */
const MOST_FOLLOWED = 6;

/** Scores that the figure of roles can draw, by their names here. */
const FIGURE_SCORES: Record<string, string> = {
  window_purity: "purity", old_share: "old_share", admission: "admission", sink_survival: "sink_survival", birth_percentile: "birth_percentile",
  sparsity: "sparsity", turnover: "turnover", sentence_coverage: "sentence_coverage", window_width: "width", occupancy: "occupancy",
  median_half_life: "half_life", mean_age_evicted: "age_evicted",
};

const followedIn = (view: View) => [...new Set([...(view.token === null ? [] : [view.token]), ...view.pins])];

/** What a figure shows, and what is on the screen and not in it, in words. */
export function carriedOver(preset: Preset, view: View): { shows: string; lost: string[] } {
  const lost: string[] = [];
  const isOverHeads = preset === "fig4" || preset === "grid";
  if (view.now !== null && preset !== "text" && preset !== "roles") lost.push(`the chosen moment (${count(view.now + 1)} tokens seen)`);
  if (isOverHeads && view.map === "half-life") lost.push("the map of half-lives");
  else if (preset === "grid" && view.map === "retention") lost.push("the shades of retention");
  if (preset === "fig4" && view.zoom) lost.push("the zoom (a brace marks its keys)");
  if (preset === "grid" && (view.find !== "" || view.sort !== "place")) lost.push("the search and order of heads");
  if (preset === "text" && view.prose !== "alive") lost.push("the colours of the text");
  if (preset === "text" && view.search !== "" && classSearched(view) === undefined) lost.push("the search");
  if (preset === "lifeline" && followedIn(view).length > MOST_FOLLOWED) lost.push(`tokens beyond the first ${MOST_FOLLOWED}`);
  if (preset === "roles" && view.scatter.some((score) => !(score in FIGURE_SCORES))) lost.push("an axis that figures do not have");
  return { shows: SHOWS[preset](`layer ${view.layer}, head ${view.head}`), lost };
}

/** The class that the text is searched for, if that is what is searched for. */
function classSearched({ search }: View): string | undefined {
  return /^class:\s*(\w+)\s*$/i.exec(search)?.[1].toLowerCase();
}

/** The flags of `trimkv-trace figure` that give a preset what the view shows. */
export function flagsOf(preset: Preset, view: View, width: string): [string, string][] {
  const flags: [string, string][] = [["width", width]];
  if (preset === "fig4" || preset === "text" || preset === "lifeline") flags.push(["heads", `L${view.layer}H${view.head}`]);
  if ((preset === "fig4" || preset === "grid" || preset === "budget") && view.ramp !== "viridis") flags.push(["colours", view.ramp]);
  if (preset === "text" && view.now !== null) flags.push(["at", String(view.now + 1)]);
  const circled = preset === "text" ? classSearched(view) : undefined;
  if (circled) flags.push(["circle", circled]);
  // One brace only: a token's label would lie over that of a zoom around it.
  if (preset === "fig4" && view.zoom) flags.push(["brace", `${Math.max(0, Math.floor(view.zoom[0]))}-${Math.max(0, Math.ceil(view.zoom[1]) - 1)}:zoomed`]);
  else if (preset === "fig4" && view.token !== null) flags.push(["brace", `${view.token}-${view.token}:token ${view.token}`]);
  if (preset === "lifeline") {
    const followed = followedIn(view).slice(0, MOST_FOLLOWED);
    if (followed.length > 0) flags.push(["position", followed.join(",")]);
  }
  if (preset === "roles") {
    const [x, y] = view.scatter.map((score) => FIGURE_SCORES[score]);
    if (x) flags.push(["x", x]);
    if (y) flags.push(["y", y]);
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
