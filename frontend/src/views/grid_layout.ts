// Where thumbnails go: by place in blocks of layers, or in reading order when sorted; as large as fits.
import type { HeadAt } from "../state/finder";

export interface GridLayout {
  slots: readonly HeadAt[];
  /** Heads to a row of a block. */
  columns: number;
  /** Rows of a block. */
  rows: number;
  /** Side of a thumbnail. */
  size: number;
  /** From one thumbnail to the next. */
  pitchX: number;
  pitchY: number;
  /** From one block to the next. */
  blockPitch: number;
  left: number;
  top: number;
  /** Height needed, which may be more than there is. */
  height: number;
}

const GAP = 4;
/** Under a thumbnail: the role's bar. */
const BAR = 5;
/** Left of a block: the layer's number. */
const LABEL = 30;
const TOP = 18;
/** Above a row when heads are sorted: name and score. */
const CAPTION = 13;
const LARGEST = 220;

/** Lays heads out in a box. With `perLayer`, a row is a layer; without, heads flow. */
export function layOut(width: number, height: number, heads: readonly HeadAt[], perLayer: number | undefined, smallest: number): GridLayout {
  const count = Math.max(1, heads.length);
  const caption = perLayer ? 0 : CAPTION;
  const left = perLayer ? LABEL : 4;
  let best: { columns: number; blocks: number; size: number; height: number } | undefined;
  const tries = perLayer
    ? Array.from({ length: 8 }, (_, i) => ({ columns: perLayer, blocks: i + 1 }))
    : Array.from({ length: Math.min(count, 48) }, (_, i) => ({ columns: i + 1, blocks: 1 }));
  for (const { columns, blocks } of tries) {
    const rows = rowsOf(count, columns, blocks);
    const across = (width - blocks * left) / (columns * blocks) - GAP;
    const down = (height - TOP) / rows - GAP - BAR - caption;
    const size = Math.min(across, Math.max(down, Math.min(smallest, across)), LARGEST);
    const needed = rows * (size + GAP + BAR + caption);
    // The largest thumbnails win; of equals, what takes least height.
    const isBetter = !best || size > best.size + 0.5 || (size > best.size - 0.5 && needed < best.height);
    if (isBetter) best = { columns, blocks, size, height: needed };
  }
  const { columns, blocks, size: wanted } = best ?? { columns: 1, blocks: 1, size: smallest };
  const size = Math.max(8, Math.floor(wanted));
  const rows = rowsOf(count, columns, blocks);
  const pitchX = size + GAP;
  const pitchY = size + GAP + BAR + caption;
  return {
    slots: heads, columns, rows, size, pitchX, pitchY,
    blockPitch: columns * pitchX + left,
    left, top: TOP, height: TOP + rows * pitchY,
  };
}

function rowsOf(count: number, columns: number, blocks: number): number {
  return Math.max(1, Math.ceil(Math.ceil(count / columns) / blocks));
}

/** Where a thumbnail is. */
export function rectOf(layout: GridLayout, index: number): { x: number; y: number; size: number; column: number; row: number } {
  const line = Math.floor(index / layout.columns);
  const column = index % layout.columns;
  const block = Math.floor(line / layout.rows);
  const row = line % layout.rows;
  return {
    x: layout.left + block * layout.blockPitch + column * layout.pitchX,
    y: layout.top + row * layout.pitchY,
    size: layout.size, column, row,
  };
}

/** The head whose thumbnail is at a point. */
export function slotAt(layout: GridLayout, x: number, y: number): HeadAt | undefined {
  const block = Math.floor((x - layout.left) / layout.blockPitch);
  const column = Math.floor((x - layout.left - block * layout.blockPitch) / layout.pitchX);
  const row = Math.floor((y - layout.top) / layout.pitchY);
  if (block < 0 || column < 0 || column >= layout.columns || row < 0 || row >= layout.rows) return undefined;
  return layout.slots[(block * layout.rows + row) * layout.columns + column];
}
