// Everything that can be done, by typing a part of its name: commands, heads, other traces.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { plural } from "../base/format";
import { listTraces, pageOf } from "../data/listing";
import type { Listed } from "../data/model";
import type { Trace } from "../data/trace";
import { here } from "../data/trace";
import { type Command, commands } from "../state/commands";
import { type Fit, fitting } from "../state/fuzzy";
import { show } from "../state/view";
import { Dialog } from "./dialog";
import { Keys } from "./keys_overlay";

/** Entries listed at most; more letters find the rest. */
const MOST = 60;

interface Entry {
  id: string;
  title: string;
  /** What kind of thing it is. */
  kind: string;
  command?: Command;
  run(): void;
}

interface PaletteProps {
  /** The trace whose heads can be gone to. */
  trace?: Trace | undefined;
  /** Whether there is a server that lists other traces. */
  hasServer: boolean;
  onClose(): void;
}

export function Palette({ trace, hasServer, onClose }: PaletteProps) {
  const [typed, setTyped] = useState("");
  const [chosen, setChosen] = useState(0);
  const [traces, setTraces] = useState<readonly Listed[]>([]);
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    // Without the list there are still the commands; the banner tells of a server that is gone.
    if (hasServer) listTraces().then(setTraces, () => {});
  }, [hasServer]);
  const offered = commands.value;
  const entries = useMemo(() => [...commandEntries(offered), ...traceEntries(traces, trace)], [offered, traces, trace]);
  const heads = useMemo(() => (trace ? headEntries(trace) : []), [trace, trace && here(trace.heads)]);
  // Heads are many: they are listed once something is typed.
  const all = fitting(readable(typed), typed.trim() === "" ? entries : [...entries, ...heads], ({ title }) => title);
  const shown = all.slice(0, MOST);
  const at = Math.min(chosen, shown.length - 1);
  useEffect(() => {
    list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }, [at, typed]);
  const run = (entry: Entry | undefined) => {
    if (!entry) return;
    // Closed first, so that the focus is back where it was when the command looks for it.
    list.current?.closest("dialog")?.close();
    entry.run();
  };
  const onKey = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (by !== undefined) {
      const to = at + by;
      const isStep = Math.abs(by) === 1;
      setChosen(isStep ? (to + shown.length) % Math.max(1, shown.length) : Math.min(shown.length - 1, Math.max(0, to)));
    } else if (event.key === "Enter") run(shown[at]?.thing);
    else return;
    event.preventDefault();
  };
  return (
    <Dialog label="Command palette" class="palette" onClose={onClose}>
      <input
        type="text"
        role="combobox"
        aria-label="Command, head or trace"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={shown[at] ? `palette-${at}` : undefined}
        aria-autocomplete="list"
        placeholder={trace ? "a command, layer 3 head 1, a trace" : "a command or a trace"}
        autocomplete="off"
        spellcheck={false}
        data-first
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={onKey}
      />
      <ul ref={list} id="palette-list" role="listbox" aria-label="What fits">
        {shown.map(({ thing, fit }, index) => (
          <li
            id={`palette-${index}`}
            role="option"
            aria-selected={index === at}
            onPointerMove={() => index !== at && setChosen(index)}
            onClick={() => run(thing)}
          >
            <span class="title">{marked(thing.title, fit)}</span>
            <span class="kind">{thing.kind}</span>
            {thing.command && <Keys of={thing.command} />}
          </li>
        ))}
      </ul>
      <p class="palette-foot hint" role="status">
        {shown.length === 0 ? "nothing fits" : all.length > MOST ? `the first ${MOST} of ${all.length}` : plural(all.length, "entry", "entries")}
      </p>
    </Dialog>
  );
}

/** `L3H1` and `l3 h1` are how heads are called elsewhere. */
export function readable(typed: string): string {
  const place = /^\s*l(?:ayer)?\s*(\d+)\s*(?:h(?:ead)?\s*(\d*))?\s*$/i.exec(typed);
  if (!place) return typed;
  return place[2] === undefined ? `layer ${place[1]} ` : `layer ${place[1]} head ${place[2]}`;
}

function commandEntries(offered: readonly Command[]): Entry[] {
  return offered
    .filter(({ id, enabled }) => id !== "palette" && (enabled?.() ?? true))
    .map((command) => ({ id: command.id, title: command.title, kind: command.group, command, run: () => command.run() }));
}

function traceEntries(traces: readonly Listed[], open: Trace | undefined): Entry[] {
  return traces
    .filter(({ key, error }) => !error && key !== open?.facts.key)
    .map(({ key, title }) => ({ id: `trace-${key}`, title: `Open ${title}`, kind: "trace", run: () => location.assign(pageOf(key)) }));
}

function headEntries(trace: Trace): Entry[] {
  const scores = here(trace.heads);
  return Array.from({ length: trace.layers * trace.kvHeads }, (_, index) => {
    const [layer, head] = [Math.floor(index / trace.kvHeads), index % trace.kvHeads];
    const role = scores?.[index]?.role;
    const run = () => show({ screen: "head", layer, head, zoom: null });
    return { id: `head-${index}`, title: `Layer ${layer} head ${head}`, kind: role ?? "head", run };
  });
}

/** The title with the letters that were typed in bold. */
function marked(title: string, { at }: Fit) {
  const hits = new Set(at);
  let index = 0;
  return [...title].map((letter) => {
    const isHit = hits.has(index);
    index += letter.length;
    return isHit ? <b>{letter}</b> : letter;
  });
}
