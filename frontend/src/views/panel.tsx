// A titled part of the window, and a picture's numbers as a table.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

interface PanelProps {
  title: string;
  /** One line of what it shows and how to read it. */
  hint?: string;
  /** Controls at the right of the title. */
  tools?: ComponentChildren;
  class?: string;
  /** The numbers behind the picture; offered as "show as table". */
  table?: () => TableData;
  children: ComponentChildren;
}

export interface TableData {
  caption: string;
  columns: readonly string[];
  rows: readonly (readonly (string | number)[])[];
  /** Rows there are, when not all are given. */
  total?: number;
}

export function Panel({ title, hint, tools, table, children, class: name }: PanelProps) {
  const [asTable, setAsTable] = useState(false);
  return (
    <section class={`panel ${name ?? ""}`} aria-label={title}>
      <header class="panel-head">
        <h2>{title}</h2>
        {hint && <p class="hint" title={hint}>{hint}</p>}
        <div class="tools">
          {tools}
          {table && (
            <button class="quiet" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
              {asTable ? "picture" : "table"}
            </button>
          )}
        </div>
      </header>
      <div class="panel-body">{asTable && table ? <DataTable data={table()} /> : children}</div>
    </section>
  );
}

export function DataTable({ data }: { data: TableData }) {
  return (
    <div class="table-box" tabIndex={0} role="region" aria-label={data.caption}>
      <table class="data">
        <caption>{data.caption}</caption>
        <thead>
          <tr>
            {data.columns.map((column) => (
              <th scope="col">{column}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {data.rows.map((row) => (
            <tr>
              {row.map((cell) => (
                <td class={typeof cell === "number" ? "n" : ""}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {data.total !== undefined && data.total > data.rows.length && (
        <p class="hint">the first {data.rows.length} of {data.total} rows; all of them are in the trace's tables</p>
      )}
    </div>
  );
}

/** One of a few choices, as joined buttons. */
export function Choice<T extends string>(props: {
  label: string;
  options: readonly (readonly [T, string])[];
  value: T;
  onChoose(value: T): void;
  /** Whether choosing would change nothing that is shown. */
  disabled?: boolean;
}) {
  return (
    <div class="choice" role="group" aria-label={props.label}>
      {props.options.map(([value, title]) => (
        <button aria-pressed={value === props.value} disabled={props.disabled} onClick={() => props.onChoose(value)}>
          {title}
        </button>
      ))}
    </div>
  );
}

/** Something that is on its way, or will not come. */
export function Waiting({ what }: { what: string }) {
  return <p class="waiting" role="status">reading {what} …</p>;
}
export function Failed({ why }: { why: string }) {
  return <p class="failed" role="alert">{why}</p>;
}
