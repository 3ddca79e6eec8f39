// The list of traces as a table: what each one is, and what can be done to it.
import type { ComponentChildren } from "preact";
import { bytes, count } from "../base/format";
import { whenWords } from "../base/when";
import { downloadOf, pageOf } from "../data/listing";
import type { Listed } from "../data/model";
import { type ListOrder, type ListSort, nextSort, statusOf } from "../state/trace_list";

interface TraceTableProps {
  traces: readonly Listed[];
  sort: ListSort;
  onSort(sort: ListSort): void;
  onDelete(listed: Listed): void;
  /** Stands where traces of one's own would, when there are none. */
  noneOwn?: ComponentChildren;
}

const COLUMNS: readonly [ListOrder, string, string?][] = [
  ["title", "Trace"], ["status", "Status"], ["model", "Model"], ["policy", "Policy and budget"],
  ["tokens", "Tokens", "n"], ["heads", "Heads", "n"], ["size", "Size", "n"], ["created", "Made"],
];

export function TraceTable({ traces, sort, onSort, onDelete, noneOwn }: TraceTableProps) {
  const bundled = traces.filter(({ source }) => source === "bundled");
  const own = traces.filter(({ source }) => source !== "bundled");
  const rows = (of: readonly Listed[]) => of.map((listed) => <Row key={listed.key} listed={listed} onDelete={onDelete} />);
  return (
    <table class="traces">
      <thead>
        <tr>
          {COLUMNS.map(([by, title, kind]) => (
            <th scope="col" class={`${by} ${kind ?? ""}`} aria-sort={sort?.by === by ? (sort.down ? "descending" : "ascending") : undefined}>
              <button onClick={() => onSort(nextSort(sort, by))}>
                {title}
                <i aria-hidden="true">{sort?.by === by ? (sort.down ? "↓" : "↑") : ""}</i>
              </button>
            </th>
          ))}
          <th scope="col" class="act">
            <span class="sr">What can be done</span>
          </th>
        </tr>
      </thead>
      {sort ? (
        <tbody>{rows(traces)}</tbody>
      ) : (
        <>
          {bundled.length > 0 && (
            <tbody>
              <Group title="Examples that come with the program" />
              {rows(bundled)}
            </tbody>
          )}
          {(own.length > 0 || noneOwn) && (
            <tbody>
              <Group title="Your runs" />
              {rows(own)}
              {own.length === 0 && (
                <tr class="none">
                  <td colSpan={9}>{noneOwn}</td>
                </tr>
              )}
            </tbody>
          )}
        </>
      )}
    </table>
  );
}

function Group({ title }: { title: string }) {
  return (
    <tr class="group">
      <th scope="rowgroup" colSpan={9}>
        {title}
      </th>
    </tr>
  );
}

function Row({ listed, onDelete }: { listed: Listed; onDelete(listed: Listed): void }) {
  const { key, title, source, model, policy, budget, buffer, tokens, layers, kv_heads, created, note, error, path, deletable } = listed;
  const status = statusOf(listed);
  const made = created ? whenWords(created, new Date()) : "–";
  const limits = !budget ? "" : `${count(budget)}${buffer ? ` + ${count(buffer)}` : ""}`;
  const open = (event: MouseEvent) => {
    const isElsewhere = (event.target as HTMLElement).closest("a, button") !== null || getSelection()?.isCollapsed === false;
    if (!isElsewhere && !error) location.assign(pageOf(key));
  };
  return (
    <tr class="trace" data-key={key} data-status={status} onClick={open}>
      <th scope="row" class="title" title={path ?? undefined}>
        {error ? <span class="name">{title}</span> : <a class="name" href={pageOf(key)}>{title}</a>}
        {source === "dropped" && <span class="tag">dropped, until the server ends</span>}
        {note && <p>{note}</p>}
        {error && <p class="wrong">{error}</p>}
        <p class="meta">{[status, model, policy && `${policy} ${limits}`, tokens !== null && `${count(tokens)} tokens`, made].filter(Boolean).join(" · ")}</p>
      </th>
      <td class="status">
        <i aria-hidden="true" />
        {status}
      </td>
      <td class="model">{model ?? "–"}</td>
      <td class="policy">
        {policy ?? "–"} <span class="n">{limits}</span>
      </td>
      <td class="n tokens">{tokens === null ? "–" : count(tokens)}</td>
      <td class="n heads">{layers === null || kv_heads === null ? "–" : <span title={`${layers} layers × ${kv_heads} KV heads`}>{layers} × {kv_heads}</span>}</td>
      <td class="n size">{bytes(listed.bytes)}</td>
      <td class="created" title={created ?? undefined}>
        {made}
      </td>
      <td class="act">
        <a class="quiet" href={downloadOf(key)} download={`${title}.zip`} aria-label={`Download ${title} as a zip`}>
          zip
        </a>
        {deletable && (
          <button class="quiet" aria-label={`Delete ${title}`} onClick={() => onDelete(listed)}>
            delete
          </button>
        )}
      </td>
    </tr>
  );
}
