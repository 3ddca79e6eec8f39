// Where a trace's data come from: a server, or the page itself (a report). Views ask this interface only.
import { signal } from "@preact/signals";
import { tableFromIPC } from "@uwdata/flechette";
import { LayerColumns } from "./columns";
import type { Cuts, Diagnosis, Facts, HeadScores, Steps, Tokens } from "./model";

export interface TraceSource {
  facts(): Promise<Facts>;
  tokens(): Promise<Tokens>;
  /** Lives of a layer's heads, every `pool` tokens as the one kept longest. */
  lifetimes(layer: number, pool: number): Promise<LayerColumns>;
  cuts(layer: number): Promise<Cuts>;
  steps(): Promise<Steps>;
  heads(): Promise<HeadScores[]>;
  diagnoses(): Promise<Diagnosis[]>;
  /** Address of what happens after so many tokens, where a run can be in progress. */
  events?(after: number): string;
}

/** What a server said when it could not answer. */
export class ServerError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** Whether the last request found a server. */
export const serverThere = signal(true);

/** What to say when there is no server. */
export function askedInVain(): ServerError {
  serverThere.value = false;
  return new ServerError("the server does not answer; start it again with `trimkv-trace open`", 0);
}

/** Asks the server; says its sentence when it cannot answer, and says so when there is no server. */
export async function ask(path: string, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { ...init?.headers, "x-trimkv-trace": "1" } });
  } catch (error) {
    if (init?.signal?.aborted) throw error;
    throw askedInVain();
  }
  serverThere.value = true;
  if (response.ok) return response;
  const said = await response.json().catch(() => undefined);
  throw new ServerError(said?.error ?? `the server answered ${response.status} to ${path}`, response.status);
}

type Table = ReturnType<typeof tableFromIPC>;

/** A column as the typed array it came as. */
function numbers<T>(table: Table, name: string): T {
  const column = table.getChild(name);
  if (!column) throw new Error(`the server's table has no column ${name}`);
  // Without rows there is no batch to take the array's kind from.
  const { values } = column.type as { values?: new (length: number) => unknown };
  return (column.length === 0 && values ? new values(0) : column.toArray()) as T;
}

function names(table: Table, key: string): string[] {
  return table.schema.metadata?.get(key)?.split(",") ?? [];
}

/** A trace on the server this page came from. */
export class HttpSource implements TraceSource {
  private readonly base: string;

  constructor(readonly key: string) {
    this.base = `/api/traces/${encodeURIComponent(key)}`;
  }

  async facts(): Promise<Facts> {
    return (await ask(this.base)).json();
  }

  async tokens(): Promise<Tokens> {
    const table = await this.table("tokens");
    return {
      count: table.numRows,
      tokenId: numbers(table, "token_id"),
      text: Array.from(numbers<Iterable<string>>(table, "text")),
      origin: numbers(table, "origin"),
      role: numbers(table, "role"),
      roleNames: names(table, "role_names"),
      class: numbers(table, "class"),
      classNames: names(table, "class_names"),
      logprob: numbers(table, "logprob"),
      entropy: numbers(table, "entropy"),
    };
  }

  async lifetimes(layer: number, pool: number): Promise<LayerColumns> {
    const table = await this.table(`lifetimes?layer=${layer}&pool=${pool}`);
    const heads = Number(table.schema.metadata?.get("kv_heads"));
    const seen = Number(table.schema.metadata?.get("seen"));
    return new LayerColumns(
      layer, heads, seen, pool, Math.ceil(seen / pool),
      numbers(table, "log_beta"), numbers(table, "evicted_at"), numbers(table, "last_score"),
      pool > 1 ? numbers(table, "position") : undefined,
    );
  }

  async cuts(layer: number): Promise<Cuts> {
    const table = await this.table(`cuts?layer=${layer}`);
    return {
      count: table.numRows,
      tokensSeen: numbers(table, "tokens_seen"),
      head: numbers(table, "head"),
      cachedBefore: numbers(table, "cached_before"),
      kept: numbers(table, "kept"),
      threshold: numbers(table, "threshold"),
      ties: numbers(table, "ties"),
    };
  }

  async steps(): Promise<Steps> {
    const table = await this.table("steps");
    const wide = (name: string) => Float64Array.from(numbers<Iterable<number | bigint>>(table, name), Number);
    return {
      count: table.numRows,
      tokensSeen: numbers(table, "tokens_seen"),
      phase: numbers(table, "phase"),
      elapsedUs: wide("elapsed_us"),
      cached: wide("cached"),
      evicted: wide("evicted"),
    };
  }

  async heads(): Promise<HeadScores[]> {
    return (await (await ask(`${this.base}/heads`)).json()).heads;
  }

  async diagnoses(): Promise<Diagnosis[]> {
    return (await (await ask(`${this.base}/check`)).json()).diagnoses;
  }

  events(after: number): string {
    return `${this.base}/events?after=${after}`;
  }

  private async table(path: string): Promise<Table> {
    const bytes = await (await ask(`${this.base}/${path}`)).arrayBuffer();
    return tableFromIPC(new Uint8Array(bytes), { useBigInt: false });
  }
}
