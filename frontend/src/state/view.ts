// The whole state of the view, held by the page's address, so that any view can be linked, reloaded and gone back to.
import { batch, computed, signal } from "@preact/signals";
import { MAP_KINDS, type MapKind } from "../base/cells";
import { RAMPS, type Ramp } from "../base/colour";

export const SCREENS = ["overview", "head", "text", "time"] as const;
export type Screen = (typeof SCREENS)[number];
/** How prose is coloured. */
export const PROSE_COLOURS = ["alive", "half-life", "evicted-at", "keepers"] as const;
export type ProseColour = (typeof PROSE_COLOURS)[number];

export interface View {
  screen: Screen;
  layer: number;
  head: number;
  /** The pinned token's position. */
  token: number | null;
  /** Tokens that are followed besides the pinned one. */
  pins: readonly number[];
  /** The query position that "now" means; null: the last. */
  now: number | null;
  /** What the heatmaps show. */
  map: MapKind;
  /** The head's second form. */
  form: "triangle" | "lanes";
  ramp: Ramp;
  /** The part of the triangle shown: key from, key to, query from, query to. Null: all. */
  zoom: readonly [number, number, number, number] | null;
  /** Order of the heads: "place" or the name of a score. */
  sort: string;
  /** What the finder looks for. */
  find: string;
  /** Axes of the scatter: names of scores. */
  scatter: readonly [string, string];
  prose: ProseColour;
  /** What the text is searched for. */
  search: string;
}

export const INITIAL: View = {
  screen: "overview",
  layer: 0,
  head: 0,
  token: null,
  pins: [],
  now: null,
  map: "retention",
  form: "triangle",
  ramp: "viridis",
  zoom: null,
  sort: "place",
  find: "",
  scatter: ["median_half_life", "old_share"],
  prose: "alive",
  search: "",
};

/** How a field is written in the address, and read from it; undefined where the text makes no sense. */
interface Codec<T> {
  write(value: T): string;
  read(text: string): T | undefined;
}

const text: Codec<string> = { write: (value) => value, read: (value) => value };
const whole: Codec<number> = { write: String, read: (value) => (/^\d{1,9}$/.test(value) ? Number(value) : undefined) };
const orNull = <T>(codec: Codec<T>): Codec<T | null> => ({
  write: (value) => (value === null ? "" : codec.write(value)),
  read: (value) => (value === "" ? null : codec.read(value)),
});
const oneOf = <T extends string>(all: readonly T[]): Codec<T> => ({
  write: (value) => value,
  read: (value) => all.find((known) => known === value),
});
const numbers = (length?: number): Codec<readonly number[]> => ({
  write: (value) => value.map((x) => String(Math.round(x * 1000) / 1000)).join(","),
  read: (value) => {
    const read = value === "" ? [] : value.split(",").map(Number);
    return read.every(Number.isFinite) && (length === undefined || read.length === length) ? read : undefined;
  },
});

const CODECS: { [Field in keyof View]: Codec<View[Field]> } = {
  screen: oneOf(SCREENS),
  layer: whole,
  head: whole,
  token: orNull(whole),
  pins: numbers(),
  now: orNull(whole),
  map: oneOf(MAP_KINDS),
  form: oneOf(["triangle", "lanes"] as const),
  ramp: oneOf(RAMPS),
  zoom: orNull(numbers(4) as unknown as Codec<readonly [number, number, number, number]>),
  sort: text,
  find: text,
  scatter: {
    write: (value) => value.join(","),
    read: (value) => {
      const [x, y, ...more] = value.split(",");
      return x && y && more.length === 0 ? [x, y] : undefined;
    },
  },
  prose: oneOf(PROSE_COLOURS),
  search: text,
};

const FIELDS = Object.keys(CODECS) as (keyof View)[];

/** The query of an address, without what is as at first. */
export function writeView(view: View): string {
  const query = new URLSearchParams();
  for (const field of FIELDS) {
    const write = CODECS[field].write as (value: unknown) => string;
    const value = write(view[field]);
    if (value !== write(INITIAL[field])) query.set(field, value);
  }
  return query.toString();
}

/** The view that a query describes; what it does not say, or says wrongly, is as at first. */
export function readView(query: string): View {
  const given = new URLSearchParams(query);
  const view: View = { ...INITIAL };
  for (const field of FIELDS) {
    const value = given.get(field);
    const read = value === null ? undefined : CODECS[field].read(value);
    if (read !== undefined) (view as unknown as Record<string, unknown>)[field] = read;
  }
  return view;
}

/** The view now. Change it with `show`. */
export const view = signal<View>({ ...INITIAL });

/** One field, for views that must not redraw when another changes. */
export function field<Field extends keyof View>(name: Field) {
  return computed(() => view.value[name]);
}

/** Fields whose change is a step that the Back button undoes; the others only correct the address. */
const STEPS: ReadonlySet<keyof View> = new Set(["screen", "layer", "head", "token", "form"]);

/** Where the address is kept: the page's, or nowhere (a report opened by double click still has a fragment). */
let address: { read(): string; write(query: string, step: boolean): void } = { read: () => "", write: () => {} };

/** Ties the view to the address; returns what unties it. */
export function followAddress(where: "query" | "fragment"): () => void {
  const kept = new URLSearchParams(where === "query" ? location.search : "").get("painter");
  address = {
    read: () => (where === "query" ? location.search : location.hash).slice(1),
    write: (query, step) => {
      const all = kept ? `${query}${query ? "&" : ""}painter=${kept}` : query;
      const mark = where === "query" ? "?" : "#";
      const url = all ? mark + all : location.pathname + (where === "query" ? "" : "#");
      if (step) history.pushState(null, "", url);
      else history.replaceState(null, "", url);
    },
  };
  const read = () => {
    clearTimeout(correction);
    correction = undefined;
    view.value = readView(address.read());
  };
  read();
  addEventListener("popstate", read);
  return () => removeEventListener("popstate", read);
}

/** Browsers refuse an address that is corrected with every frame of a drag or of play. */
const CORRECT_MS = 250;
let correction: ReturnType<typeof setTimeout> | undefined;

function correctAddress(): void {
  clearTimeout(correction);
  correction = undefined;
  address.write(writeView(view.peek()), false);
}

/** Changes the view, and the address with it: at once where that is a step, else shortly after. */
export function show(change: Partial<View>): void {
  const before = view.peek();
  const changed = FIELDS.filter((name) => name in change && change[name] !== before[name]);
  if (changed.length === 0) return;
  const isStep = changed.some((name) => STEPS.has(name));
  // The place that is left keeps what it looked like.
  if (isStep && correction !== undefined) correctAddress();
  view.value = { ...before, ...change };
  if (isStep) address.write(writeView(view.value), true);
  else correction ??= setTimeout(correctAddress, CORRECT_MS);
}

/** What the pointer or the keyboard's focus is on; never in the address. Null: nothing. */
export const hover = {
  layer: signal<number | null>(null),
  head: signal<number | null>(null),
  token: signal<number | null>(null),
  /** Query position. */
  query: signal<number | null>(null),
};

/** The pointer is on a head, or on none. */
export function hoverHead(at: { layer: number; head: number } | undefined): void {
  batch(() => {
    hover.layer.value = at?.layer ?? null;
    hover.head.value = at?.head ?? null;
  });
}

export function clearHover(): void {
  batch(() => {
    for (const part of Object.values(hover)) part.value = null;
  });
}

/** The token that views mark: the one under the pointer, else the pinned one. */
export const marked = computed(() => hover.token.value ?? view.value.token);
