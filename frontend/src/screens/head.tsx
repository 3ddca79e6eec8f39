// S2: one head, exactly, from the whole run down to single cells; beside it what is known of head and token.
import { useState } from "preact/hooks";
import { type Trace, here } from "../data/trace";
import { show, view } from "../state/view";
import { HeadCard } from "../views/head_card";
import { HeadGrid } from "../views/head_grid";
import { Lanes, lanesTable, placesPerRow } from "../views/lanes";
import { LaneLegend, MapLegend } from "../views/legend";
import { Choice, Failed, Panel, Waiting } from "../views/panel";
import { TokenCard } from "../views/token_card";
import { Triangle, triangleTable } from "../views/triangle";

const all = () => true;

export function HeadScreen({ trace }: { trace: Trace }) {
  const { layer, head, form, zoom } = view.value;
  const [showGrid, setShowGrid] = useState(true);
  const columns = trace.layer(layer).value;
  return (
    <div class="head-screen" data-grid={showGrid} data-zoomed={zoom !== null}>
      {showGrid && (
        <Panel title="Heads" class="navigator">
          <HeadGrid trace={trace} test={all} smallest={16} compact />
        </Panel>
      )}
      <Panel
        title={`Layer ${layer}, head ${head}`}
        hint={form === "triangle" ? "Keys to the right, queries down." : "A row is a place in the cache, a bar a token from birth to eviction."}
        class="head-view"
        table={here(trace.layer(layer)) ? () => (form === "triangle" ? triangleTable(trace) : lanesTable(trace)) : undefined}
        tools={
          <>
            <button class="quiet" aria-pressed={showGrid} onClick={() => setShowGrid(!showGrid)}>
              heads
            </button>
            <button class="quiet" disabled={zoom === null} onClick={() => show({ zoom: null })} title="Show the whole run (F)">
              fit
            </button>
            <Choice
              label="Form"
              value={form}
              options={[["triangle", "Triangle"] as const, ["lanes", "Lanes"] as const]}
              onChoose={(form) => show({ form })}
            />
          </>
        }
      >
        {columns.state === "waiting" && <Waiting what={`layer ${layer}`} />}
        {columns.state === "failed" && <Failed why={columns.why} />}
        {columns.state === "here" && (form === "triangle" ? <Triangle trace={trace} columns={columns.value} /> : <Lanes trace={trace} columns={columns.value} />)}
        <div class="grid-foot">
          {form === "lanes" ? <LaneLegend trace={trace} every={placesPerRow.value} /> : <MapLegend trace={trace} shares={trace.seen.value > 700} />}
          <p class="hint keys">wheel or W S zoom · drag or A D pan · F fit · click pins</p>
        </div>
      </Panel>
      <aside class="inspector-side">
        <HeadCard trace={trace} />
        <TokenCard trace={trace} />
      </aside>
    </div>
  );
}
