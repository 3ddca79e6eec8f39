// Which place of the cache each token of a head has while it lives, as a picture's rows.
import type { LayerColumns } from "./columns";

export interface Slots {
  /** Places used at once, at most. */
  count: number;
  /** Place by position. */
  of: Uint32Array;
}

/** Gives each token the lowest place that is free when it is born; a place is free again when its token has left. */
export function slotsOf(columns: LayerColumns, head: number): Slots {
  const { seen, evictedAt } = columns;
  const of = new Uint32Array(seen);
  const start = columns.at(head, 0);
  const leavingAt = new Map<number, number[]>();
  const free = new LowestFirst();
  let count = 0;
  for (let position = 0; position < seen; position++) {
    for (const slot of leavingAt.get(position) ?? []) free.push(slot);
    leavingAt.delete(position);
    const slot = free.pop() ?? count++;
    of[position] = slot;
    const gone = evictedAt[start + position];
    if (gone >= seen) continue;
    const leaving = leavingAt.get(gone);
    if (leaving) leaving.push(slot);
    else leavingAt.set(gone, [slot]);
  }
  return { count, of };
}

/** A binary heap of whole numbers. */
class LowestFirst {
  private readonly items: number[] = [];

  push(item: number): void {
    const { items } = this;
    let at = items.push(item) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (items[above] <= items[at]) return;
      [items[above], items[at]] = [items[at], items[above]];
      at = above;
    }
  }

  pop(): number | undefined {
    const { items } = this;
    const lowest = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return lowest;
    items[0] = last;
    for (let at = 0; ; ) {
      let below = 2 * at + 1;
      if (below >= items.length) return lowest;
      if (below + 1 < items.length && items[below + 1] < items[below]) below += 1;
      if (items[at] <= items[below]) return lowest;
      [items[at], items[below]] = [items[below], items[at]];
      at = below;
    }
  }
}
