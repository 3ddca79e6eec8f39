// The bar over everything: which trace, what was run, and the controls that every screen has.
import { bytes, count, plural } from "../base/format";
import { budgetOf } from "../data/budget";
import { MAP_KINDS, type MapKind } from "../base/cells";
import { RAMPS, type Ramp } from "../base/colour";
import type { Live } from "../data/live";
import type { Trace } from "../data/trace";
import { show, view } from "../state/view";
import { ExportButton } from "./export_dialog";
import { LiveBadge } from "./live_badge";
import { Choice } from "./panel";
import { ShellButtons, ThemeButton } from "./shell";
import { NewRunButton } from "./run_form";

const MAP_TITLES: Record<MapKind, string> = { retention: "Retention", alive: "Alive", "half-life": "Half-life" };

export function TopBar({ trace, live }: { trace: Trace; live: Live | undefined }) {
  const { manifest, title, source } = trace.facts;
  const { model, policy } = manifest;
  const limits = budgetOf(policy);
  const budget = limits && `M ${count(limits.budget)}${limits.buffer > 0 ? ` + ${count(limits.buffer)}` : ""}`;
  const ranks = policy?.name === "full" ? "full cache" : policy?.name;
  const { screen, form, prose } = view.value;
  const hasHeatmap = screen === "overview" || (screen === "head" && form === "triangle");
  const hasRamp = hasHeatmap || screen === "head" || (screen === "text" && prose !== "alive");
  return (
    <header class="top">
      <a class="wordmark" href={source === "report" ? undefined : "/"} aria-label="trimkvtrace: list of traces">
        trimkv<i>trace</i>
      </a>
      <div class="run">
        <h1>{title}</h1>
        <p>
          {[model.name, ranks, budget, `${count(trace.seen.value)} tokens`, plural(trace.layers * trace.kvHeads, "head")]
            .filter(Boolean)
            .join("  ·  ")}
        </p>
      </div>
      {live && <LiveBadge trace={trace} live={live} />}
      <div class="tools">
        {trace.source.events && <NewRunButton />}
        <Choice disabled={!hasHeatmap} label="What heatmaps show" value={view.value.map} options={MAP_KINDS.map((kind) => [kind, MAP_TITLES[kind]] as const)} onChoose={(map) => show({ map })} />
        <select disabled={!hasRamp} aria-label="Colour map" value={view.value.ramp} onChange={(event) => show({ ramp: event.currentTarget.value as Ramp })}>
          {RAMPS.map((name) => (
            <option>{name}</option>
          ))}
        </select>
        {trace.source.events && <ExportButton trace={trace} />}
        <ShellButtons />
        <ThemeButton />
      </div>
    </header>
  );
}

/** Peak cache bytes against what a full cache would take, in words. */
export function cacheWords(trace: Trace): string {
  const { cache_peak, cache_full } = trace.facts.manifest.bytes ?? {};
  if (!cache_peak || !cache_full) return "–";
  if (cache_peak > cache_full) return `${bytes(cache_peak)} allocated; this short run would fit into ${bytes(cache_full)}`;
  return `${bytes(cache_peak)} at most, of ${bytes(cache_full)} for the full cache (${(cache_full / cache_peak).toFixed(1)} times less)`;
}
