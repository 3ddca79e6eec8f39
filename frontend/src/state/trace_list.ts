// Which traces of the list are shown, and in which order.
import type { Listed } from "../data/model";

/** A column that the list can be ordered by. */
export const LIST_ORDERS = ["title", "status", "model", "policy", "tokens", "heads", "size", "created"] as const;
export type ListOrder = (typeof LIST_ORDERS)[number];

/** Null: as the server gives them, bundled ones first, then the newest. */
export type ListSort = { by: ListOrder; down: boolean } | null;

const VALUE: Record<ListOrder, (listed: Listed) => string | number | null> = {
  title: ({ title }) => title.toLowerCase(),
  status: (listed) => statusOf(listed),
  model: ({ model }) => model?.toLowerCase() ?? null,
  policy: ({ policy, budget }) => (policy === null ? null : `${policy} ${String(budget ?? 0).padStart(9, "0")}`),
  tokens: ({ tokens }) => tokens,
  heads: ({ layers, kv_heads }) => (layers === null || kv_heads === null ? null : layers * kv_heads),
  size: ({ bytes }) => bytes,
  created: ({ created }) => created,
};

/** What a trace's state is called. */
export function statusOf(listed: Listed): "complete" | "running" | "interrupted" | "damaged" | "newer version" {
  // Nothing is wrong with a trace that a later program wrote; this one cannot read it.
  if (listed.error) return /has schema .* this version reads /.test(listed.error) ? "newer version" : "damaged";
  return listed.status === "running" || listed.status === "interrupted" ? listed.status : "complete";
}

/** Traces in which every word that was typed occurs somewhere. */
export function matching(traces: readonly Listed[], typed: string): Listed[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  return traces.filter((listed) => {
    const { title, key, model, policy, budget, source, note, error, path } = listed;
    const all = [title, key, model, policy, budget, source, note, error, path, statusOf(listed)].join(" ").toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

/** Traces in order; what is unknown comes last either way, equals stay as they are. */
export function ordered(traces: readonly Listed[], sort: ListSort): Listed[] {
  if (!sort) return [...traces];
  const value = VALUE[sort.by];
  const sign = sort.down ? -1 : 1;
  return [...traces].sort((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a === b) return 0;
    if (a === null) return 1;
    if (b === null) return -1;
    return a < b ? -sign : sign;
  });
}

/** What the list's address says: which words are searched for, and the order. */
export interface ListView {
  typed: string;
  sort: ListSort;
}

export function readList(query: string): ListView {
  const given = new URLSearchParams(query);
  const by = LIST_ORDERS.find((name) => name === given.get("sort"));
  return { typed: given.get("find") ?? "", sort: by ? { by, down: given.get("order") === "down" } : null };
}

/** The query of the list's address, without what is as at first. */
export function writeList({ typed, sort }: ListView): string {
  const query = new URLSearchParams();
  if (typed) query.set("find", typed);
  if (sort) query.set("sort", sort.by);
  if (sort?.down) query.set("order", "down");
  return query.toString();
}

/** The order after a column's title was pressed: its own direction, the other, the server's again. */
export function nextSort(sort: ListSort, by: ListOrder): ListSort {
  // What is long, large or new is looked for more often than what is not.
  const first = by === "tokens" || by === "heads" || by === "size" || by === "created";
  if (sort?.by !== by) return { by, down: first };
  return sort.down === first ? { by, down: !first } : null;
}
