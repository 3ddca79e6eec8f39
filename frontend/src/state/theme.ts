// Light or dark, and the colours that pictures take from the page's style.
import { computed, signal } from "@preact/signals";
import { type CellColours, type Rgb, parseRgb, rampTable } from "../base/colour";
import { view } from "./view";

export type Theme = "light" | "dark";

const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = signal<Theme | null>(stored());
const systemTheme = signal<Theme>(system.matches ? "dark" : "light");
system.addEventListener("change", () => (systemTheme.value = system.matches ? "dark" : "light"));

/** The theme now: the one chosen here, else the system's. */
export const theme = computed<Theme>(() => chosen.value ?? systemTheme.value);

function stored(): Theme | null {
  try {
    const value = localStorage.getItem("theme");
    return value === "light" || value === "dark" ? value : null;
  } catch {
    return null; // A file opened by double click may have no storage.
  }
}

export function toggleTheme(): void {
  chosen.value = theme.value === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", chosen.value);
  } catch {
    // Kept for this page only.
  }
}

/** Colours of the page's style by the names of its custom properties. */
export interface Inks {
  paper: string;
  ink: string;
  muted: string;
  rule: string;
  accent: string;
  accentRgb: Rgb;
  alert: string;
}

/** The style's inks; follows the theme. */
export const inks = computed<Inks>(() => {
  document.documentElement.dataset.theme = theme.value;
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => style.getPropertyValue(name).trim();
  return {
    paper: of("--panel"),
    ink: of("--ink"),
    muted: of("--muted"),
    rule: of("--rule"),
    accent: of("--accent"),
    accentRgb: parseRgb(of("--accent")),
    alert: of("--alert"),
  };
});

/** Colours of cells; follows the theme. */
export const cellColours = computed<CellColours>(() => {
  document.documentElement.dataset.theme = theme.value;
  const style = getComputedStyle(document.documentElement);
  const of = (name: string) => parseRgb(style.getPropertyValue(name));
  return { unborn: of("--unborn"), evicted: of("--evicted"), alive: of("--alive"), unknown: of("--unknown") };
});

/** The chosen colour map's table. */
export const ramp = computed(() => rampTable(view.value.ramp, theme.value === "dark"));

/** The colour of a head's role, from the style. */
export function roleColour(role: string): string {
  void theme.value;
  const name = `--role-${role.replaceAll(" ", "-")}`;
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#888888";
}

/** How many series can be told apart by colour. */
const SERIES = 9;

/** The colour of the n-th of a few lines, from the style; a letter or a word tells them apart as well. */
export function seriesColour(index: number): string {
  void theme.value;
  return getComputedStyle(document.documentElement).getPropertyValue(`--series-${(index % SERIES) + 1}`).trim();
}
