// Facts of one head that marginals and words need: entries cached per query, and how a token's life went.
import type { LayerColumns } from "./columns";
import type { Cuts } from "./model";

/** Entries cached that each query sees, by query position; linear in tokens. */
export function occupancy(columns: LayerColumns, head: number): Uint32Array {
  const { seen, evictedAt } = columns;
  const change = new Int32Array(seen + 1);
  const start = columns.at(head, 0);
  for (let position = 0; position < seen; position++) {
    change[position] += 1;
    const gone = evictedAt[start + position];
    if (gone < seen) change[gone] -= 1;
  }
  const cached = new Uint32Array(seen);
  let now = 0;
  for (let query = 0; query < seen; query++) {
    now += change[query];
    cached[query] = now;
  }
  return cached;
}

const occupancies = new WeakMap<LayerColumns, { version: number; byHead: Map<number, Uint32Array> }>();

/** As `occupancy`, computed once for each state of the columns. */
export function occupancyOf(columns: LayerColumns, head: number): Uint32Array {
  let known = occupancies.get(columns);
  if (!known || known.version !== columns.version) {
    known = { version: columns.version, byHead: new Map() };
    occupancies.set(columns, known);
  }
  let cached = known.byHead.get(head);
  if (!cached) {
    cached = occupancy(columns, head);
    known.byHead.set(head, cached);
  }
  return cached;
}

/** Queries that saw a token, over those that could have: 1 for one that never left. */
export function lifeShare(position: number, evictedAt: number, seen: number): number {
  const possible = seen - position;
  return possible <= 0 ? 0 : (Math.min(evictedAt, seen) - position) / possible;
}

/** Tokens seen at the cuts of one head, ascending. */
export function cutsOfHead(cuts: Cuts, head: number): { tokensSeen: number; threshold: number; kept: number; cachedBefore: number; ties: number }[] {
  const found = [];
  for (let row = 0; row < cuts.count; row++) {
    if (cuts.head[row] !== head) continue;
    found.push({
      tokensSeen: cuts.tokensSeen[row],
      threshold: cuts.threshold[row],
      kept: cuts.kept[row],
      cachedBefore: cuts.cachedBefore[row],
      ties: cuts.ties[row],
    });
  }
  return found;
}
