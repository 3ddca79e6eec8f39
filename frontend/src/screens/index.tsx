// The list of traces: what there is to see, and the ways to add to it.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { plural } from "../base/format";
import { deleteTrace, listTraces, restoreTrace } from "../data/listing";
import type { Listed } from "../data/model";
import { serverThere } from "../data/source";
import { type Command, offer } from "../state/commands";
import { toggleTheme } from "../state/theme";
import { LIST_ORDERS, type ListOrder, type ListSort, matching, ordered, readList, writeList } from "../state/trace_list";
import { ChooseFolder, DropAnywhere, OpenByPath } from "../views/drop";
import { FirstTrace, NothingMatches } from "../views/empty";
import { ServerGone } from "../views/notices";
import { Failed, Waiting } from "../views/panel";
import { NewRunButton, RunForm } from "../views/run_form";
import { Shell, ShellButtons, ThemeButton } from "../views/shell";
import { tell } from "../views/toast";
import { TraceTable } from "../views/trace_table";

/** Milliseconds between looks at the list while a run goes on, and else. */
const BUSY = 3_000;
const IDLE = 20_000;

const wordsOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** The list as the server last gave it, and how to ask again. */
function useTraces(): { traces: readonly Listed[] | undefined; why: string | undefined; refresh: () => Promise<void>; without: (key: string) => void } {
  const [traces, setTraces] = useState<readonly Listed[]>();
  const [why, setWhy] = useState<string>();
  const refresh = async () => {
    try {
      setTraces(await listTraces());
      setWhy(undefined);
    } catch (error) {
      setWhy(wordsOf(error));
    }
  };
  const isBusy = traces?.some(({ status }) => status === "running") ?? false;
  const isThere = serverThere.value;
  useEffect(() => {
    void refresh();
  }, [isThere]);
  useEffect(() => {
    const look = () => document.visibilityState === "visible" && void refresh();
    const timer = setInterval(look, isBusy ? BUSY : IDLE);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [isBusy]);
  return { traces, why, refresh, without: (key) => setTraces((all) => all?.filter((listed) => listed.key !== key)) };
}

export function IndexPage() {
  const { traces, why, refresh, without } = useTraces();
  const [typed, setTyped] = useState(() => readList(location.search).typed);
  const [sort, setSort] = useState<ListSort>(() => readList(location.search).sort);
  useEffect(() => {
    // After a rest, as browsers refuse an address that is corrected with every letter.
    const timer = setTimeout(() => {
      const query = writeList({ typed, sort });
      if (query !== location.search.slice(1)) history.replaceState(null, "", query ? `?${query}` : location.pathname);
    }, 200);
    return () => clearTimeout(timer);
  }, [typed, sort]);
  const [isOpening, setOpening] = useState(false);
  const main = useRef<HTMLElement>(null);

  const remove = async (listed: Listed) => {
    const names = links(main.current);
    const at = names.findIndex((link) => link.closest("tr")?.dataset.key === listed.key);
    try {
      await deleteTrace(listed.key);
    } catch (error) {
      return tell(`Cannot delete ${listed.title}: ${wordsOf(error)}`, { tone: "alert" });
    }
    without(listed.key);
    // The focus goes where the row was, so that the keyboard's place in the list is not lost.
    (names[at + 1] ?? names[at - 1] ?? document.getElementById("find-traces"))?.focus();
    const undo = async () => {
      await restoreTrace(listed.key).catch((error: unknown) => tell(`Cannot bring back ${listed.title}: ${wordsOf(error)}`, { tone: "alert" }));
      await refresh();
    };
    tell(`Deleted ${listed.title}.`, { action: { title: "Undo", run: () => void undo() } });
  };
  const removeFocused = () => {
    const key = document.activeElement?.closest("tr")?.dataset.key;
    const listed = traces?.find((one) => one.key === key);
    if (listed?.deletable) void remove(listed);
  };

  useLayoutEffect(() => {
    const step = (by: number) => {
      const all = links(main.current);
      const at = all.findIndex((link) => link.closest("tr") === document.activeElement?.closest("tr"));
      all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + by))]?.focus();
    };
    const list: Command[] = [
      { id: "find-traces", title: "Search the traces", group: "Go", keys: ["/"], run: () => document.getElementById("find-traces")?.focus() },
      { id: "next-trace", title: "Next trace", group: "Go", keys: ["ArrowDown", "j"], run: () => step(1) },
      { id: "previous-trace", title: "Trace before", group: "Go", keys: ["ArrowUp", "k"], run: () => step(-1) },
      { id: "open-path", title: "Open a trace by its path", group: "Trace", keys: ["o"], run: () => setOpening(true) },
      { id: "theme", title: "Light or dark", group: "Look", keys: ["t"], run: toggleTheme },
    ];
    return offer(list);
  }, []);
  useLayoutEffect(
    () => offer([{ id: "delete-trace", title: "Delete the trace that has the focus", group: "Trace", keys: ["Delete"], run: removeFocused, enabled: () => document.activeElement?.closest("tr[data-key]") != null }]),
    [traces],
  );

  return (
    <div class="index-window">
      <header class="top">
        <span class="wordmark">
          trimkv<i>trace</i>
        </span>
        <div class="tools">
          <ShellButtons />
          <ThemeButton />
        </div>
      </header>
      <div class="notices">
        <ServerGone />
      </div>
      <main class="index" id="main" ref={main}>
        <h1>What a language model keeps in mind, and what it forgets</h1>
        <p class="lead">
          A trace is one text read and written by a model whose memory, its KV cache, has a fixed size. Open one to see, for every layer and head,
          which tokens were kept, which were evicted, and when.
        </p>
        <div class="list-tools">
          <label class="field">
            <span class="sr">Search the traces</span>
            <input id="find-traces" type="search" placeholder="search: name, model, policy" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
          </label>
          <label class="field narrow-only">
            sort
            <select value={sort?.by ?? ""} onChange={(event) => setSort(sortOf(event.currentTarget.value))}>
              <option value="">newest</option>
              {LIST_ORDERS.map((by) => (
                <option>{by}</option>
              ))}
            </select>
          </label>
          <span class="hint" role="status">
            {traces && (typed ? `${matching(traces, typed).length} of ${plural(traces.length, "trace")}` : plural(traces.length, "trace"))}
          </span>
          <div class="tools">
            <ChooseFolder onAdded={() => void refresh()} />
            <button title="Open by path (O)" onClick={() => setOpening(true)}>
              Open a path…
            </button>
            <NewRunButton />
          </div>
        </div>
        <Listing traces={traces} why={why} typed={typed} sort={sort} onSort={setSort} onDelete={(listed) => void remove(listed)} onClear={() => setTyped("")} />
        <p class="index-foot hint">Drop a trace’s folder anywhere on this page to view it. Nothing leaves this machine.</p>
      </main>
      <DropAnywhere onAdded={() => void refresh()} />
      {isOpening && <OpenByPath onClose={() => setOpening(false)} />}
      <RunForm />
      <Shell hasServer />
    </div>
  );
}

interface ListingProps {
  traces: readonly Listed[] | undefined;
  why: string | undefined;
  typed: string;
  sort: ListSort;
  onSort(sort: ListSort): void;
  onDelete(listed: Listed): void;
  onClear(): void;
}

function Listing({ traces, why, typed, sort, onSort, onDelete, onClear }: ListingProps) {
  if (!traces) return why ? <Failed why={why} /> : <Waiting what="the list of traces" />;
  const shown = ordered(matching(traces, typed), sort);
  if (shown.length === 0 && typed) return <NothingMatches typed={typed} onClear={onClear} />;
  return <TraceTable traces={shown} sort={sort} onSort={onSort} onDelete={onDelete} noneOwn={typed ? undefined : <FirstTrace actions={<NewRunButton />} />} />;
}

function sortOf(by: string): ListSort {
  const known = LIST_ORDERS.find((name): name is ListOrder => name === by);
  return known ? { by: known, down: false } : null;
}

function links(within: HTMLElement | null): HTMLElement[] {
  return [...(within?.querySelectorAll<HTMLElement>("tr[data-key] a.name") ?? [])];
}
