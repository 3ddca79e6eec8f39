// Colours of cells. The tables are those of the exported figures.
import cividisTable from "../../../backend/figures/colours/cividis.rgb";
import viridisTable from "../../../backend/figures/colours/viridis.rgb";
import { ALIVE, EVICTED, type MapKind, type Shown } from "./cells";

export type Rgb = readonly [number, number, number];
export type Ramp = "viridis" | "cividis" | "grey";
export const RAMPS: readonly Ramp[] = ["viridis", "cividis", "grey"];

/** The colours that do not come from a ramp. */
export interface CellColours {
  unborn: Rgb;
  evicted: Rgb;
  alive: Rgb;
  /** Alive, but without gates nothing is known of its retention. */
  unknown: Rgb;
}

/** 256 colours, three bytes each. Grey runs so that what is retained best stands out most from the page. */
export function rampTable(ramp: Ramp, dark: boolean): Uint8Array {
  if (ramp === "viridis") return viridisTable;
  if (ramp === "cividis") return cividisTable;
  return dark ? GREY_ON_DARK : GREY_ON_LIGHT;
}

const GREY_ON_DARK = greys(70, 255);
const GREY_ON_LIGHT = greys(190, 0);

function greys(from: number, to: number): Uint8Array {
  const table = new Uint8Array(768);
  for (let step = 0; step < 256; step++) table.fill(Math.round(from + ((to - from) * step) / 255), 3 * step, 3 * step + 3);
  return table;
}

/** The colour of a ramp at a value in [0, 1]. */
export function rampAt(table: Uint8Array, value: number): Rgb {
  const step = Math.floor(Math.min(1, Math.max(0, value)) * 255 + 0.5) * 3;
  return [table[step], table[step + 1], table[step + 2]];
}

/** The colour of a pixel; twin of the end of the shader. */
export function colourOf(shown: Shown, kind: MapKind, colours: CellColours, table: Uint8Array): Rgb {
  if (shown.state === EVICTED) return colours.evicted;
  if (shown.state !== ALIVE) return colours.unborn;
  if (kind === "alive") return mix(colours.evicted, colours.alive, 0.4 + 0.6 * shown.value);
  if (Number.isNaN(shown.value)) return colours.unknown;
  return rampAt(table, shown.value);
}

function mix(from: Rgb, to: Rgb, share: number): Rgb {
  const at = (i: 0 | 1 | 2) => Math.round(from[i] + (to[i] - from[i]) * share);
  return [at(0), at(1), at(2)];
}

/** `#rrggbb` as a page's style gives it. */
export function parseRgb(text: string): Rgb {
  const found = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text.trim());
  if (!found) throw new Error(`a colour of the page's style must be #rrggbb, not "${text}"`);
  return [parseInt(found[1], 16), parseInt(found[2], 16), parseInt(found[3], 16)];
}

export function cssRgb([r, g, b]: Rgb, alpha = 1): string {
  return alpha === 1 ? `rgb(${r} ${g} ${b})` : `rgb(${r} ${g} ${b} / ${alpha})`;
}
