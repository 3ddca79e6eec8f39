// S1: every head at once, what was run, and where in the depth which behaviour lives.
import { useLayoutEffect, useState } from "preact/hooks";
import { scoreWords } from "../base/score_words";
import type { Live } from "../data/live";
import { here, type Trace } from "../data/trace";
import { offer } from "../state/commands";
import { ROLES, readFind, scoreNames, scoreOf } from "../state/finder";
import { show, view } from "../state/view";
import { DepthProfile } from "../views/depth_profile";
import { HeadGrid } from "../views/head_grid";
import { MapLegend } from "../views/legend";
import { Panel, type TableData } from "../views/panel";
import { RoleKey } from "../views/role_key";
import { RunCard } from "../views/run_card";
import { Scatter } from "../views/scatter";

export function OverviewScreen({ trace, live }: { trace: Trace; live: Live | undefined }) {
  const scores = here(trace.heads) ?? [];
  const names = scoreNames(scores);
  const found = readFind(view.value.find, ROLES, names);
  // Until the scores are here, nobody can say that a name is wrong.
  const error = "error" in found && scores.length > 0 ? found.error : undefined;
  const test = "test" in found ? found.test : () => true;
  const hits = Array.from({ length: trace.layers * trace.kvHeads }, (_, index) => ({
    layer: Math.floor(index / trace.kvHeads),
    head: index % trace.kvHeads,
    scores: scores[index],
  })).filter(test).length;
  useLayoutEffect(
    () =>
      offer([
        {
          id: "find-heads",
          title: "Find heads by role, place or score",
          group: "Head",
          keys: ["/"],
          run: () => document.querySelector<HTMLInputElement>("#finder")?.select(),
        },
      ]),
    [],
  );
  return (
    <div class="overview">
      <Panel
        title="Heads"
        hint="Keys to the right, queries down."
        tools={
          <>
            <Finder isWrong={error !== undefined} hits={hits} total={trace.layers * trace.kvHeads} />
            <label class="field">
              sort
              <select value={view.value.sort} title={scoreWords(view.value.sort)} onChange={(event) => show({ sort: event.currentTarget.value })}>
                <option value="place">layer and head</option>
                {names.map((name) => (
                  <option value={name} title={scoreWords(name)}>{name.replaceAll("_", " ")}</option>
                ))}
              </select>
            </label>
          </>
        }
        class="heads"
        table={() => headTable(trace, names)}
      >
        <p class="finder-error" id="finder-error" role="status">
          {error}
        </p>
        <HeadGrid trace={trace} test={test} onOpen={() => show({ screen: "head" })} />
        <div class="grid-foot">
          <MapLegend trace={trace} shares />
          <RoleKey scores={scores} />
        </div>
      </Panel>
      <aside class="side">
        <RunCard trace={trace} live={live} />
        <DepthProfile trace={trace} />
        <Scatter trace={trace} names={names} />
      </aside>
    </div>
  );
}

function Finder({ isWrong, hits, total }: { isWrong: boolean; hits: number; total: number }) {
  const [typed, setTyped] = useState(view.value.find);
  const { find } = view.value;
  const [last, setLast] = useState(find);
  if (find !== last) {
    setLast(find);
    if (find !== typed) setTyped(find);
  }
  return (
    <label class="field finder">
      <span class="sr">Find heads</span>
      <input
        id="finder"
        type="search"
        placeholder="find: content, layer 4"
        value={typed}
        aria-invalid={isWrong}
        aria-describedby="finder-error finder-says"
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          show({ find: event.currentTarget.value });
        }}
        onKeyDown={(event) => {
          // Once for what was typed, once more for the keys of the page.
          if (event.key === "Escape" && typed === "") event.currentTarget.blur();
        }}
      />
      <output id="finder-says" class="finder-says">
        {find && !isWrong ? `${hits} of ${total}` : ""}
      </output>
    </label>
  );
}

function headTable(trace: Trace, names: readonly string[]): TableData {
  const scores = here(trace.heads) ?? [];
  return {
    caption: "Scores of every head",
    columns: ["layer", "head", "role", ...names.map((name) => name.replaceAll("_", " "))],
    rows: scores.map((head) => [
      head.layer,
      head.head,
      head.role,
      ...names.map((name) => {
        const score = scoreOf({ layer: head.layer, head: head.head, scores: head }, name);
        return score === undefined ? "–" : Number(score.toPrecision(4));
      }),
    ]),
  };
}
