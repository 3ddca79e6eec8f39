// From cells to the screen and back, one axis at a time.

/** A range of cells, half open, shown on a range of pixels. */
export interface Axis {
  cell0: number;
  cell1: number;
  pixel0: number;
  pixel1: number;
}

export function pixelFromCell(axis: Axis, cell: number): number {
  return axis.pixel0 + ((cell - axis.cell0) / (axis.cell1 - axis.cell0)) * (axis.pixel1 - axis.pixel0);
}

export function cellFromPixel(axis: Axis, pixel: number): number {
  return axis.cell0 + ((pixel - axis.pixel0) / (axis.pixel1 - axis.pixel0)) * (axis.cell1 - axis.cell0);
}

/** Pixels to a cell. */
export function pitchOf(axis: Axis): number {
  return (axis.pixel1 - axis.pixel0) / (axis.cell1 - axis.cell0);
}

/** Key from, key to, query from, query to. */
export type Zoom = readonly [number, number, number, number];

/** The whole triangle of a run. */
export function whole(seen: number): Zoom {
  return [0, Math.max(1, seen), 0, Math.max(1, seen)];
}

/** Cells across when zoomed in as far as it goes. */
const CLOSEST = 4;

/** Zooms about a cell; `factor` below 1 is closer. Never beyond the run, never closer than a few cells. */
export function zoomAbout(zoom: Zoom, key: number, query: number, factor: number, seen: number): Zoom {
  const side = (from: number, to: number, about: number): [number, number] => {
    const span = Math.min(Math.max(1, seen), Math.max(Math.min(CLOSEST, seen), (to - from) * factor));
    const share = (about - from) / (to - from);
    return within(about - share * span, span, seen);
  };
  return [...side(zoom[0], zoom[1], key), ...side(zoom[2], zoom[3], query)];
}

/** Moves the part shown by so many cells, staying inside the run. */
export function pan(zoom: Zoom, keys: number, queries: number, seen: number): Zoom {
  return [
    ...within(zoom[0] + keys, zoom[1] - zoom[0], seen),
    ...within(zoom[2] + queries, zoom[3] - zoom[2], seen),
  ];
}

/** The part shown, moved so that a cell is inside it. */
export function reveal(zoom: Zoom, key: number, query: number, seen: number): Zoom {
  const shift = (from: number, to: number, cell: number) => (cell < from ? cell - from : cell + 1 > to ? cell + 1 - to : 0);
  return pan(zoom, shift(zoom[0], zoom[1], key), shift(zoom[2], zoom[3], query), seen);
}

function within(from: number, span: number, seen: number): [number, number] {
  const start = Math.min(Math.max(0, from), Math.max(0, Math.max(1, seen) - span));
  return [start, start + span];
}
