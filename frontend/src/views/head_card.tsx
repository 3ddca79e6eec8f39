// What the analysis says of the chosen head: its role, why, and the numbers behind it.
import { count, number, percent } from "../base/format";
import { here, type Trace } from "../data/trace";
import { roleColour } from "../state/theme";
import { view } from "../state/view";
import { Panel, Waiting } from "./panel";

interface Category {
  category: string;
  enrichment: number | null;
  q: number | null;
  share: number | null;
}

export function HeadCard({ trace }: { trace: Trace }) {
  const { layer, head } = view.value;
  const answer = trace.heads.value;
  if (answer.state === "failed") {
    return (
      <Panel title="Role">
        <p class="failed">{answer.why}</p>
      </Panel>
    );
  }
  const scores = here(trace.heads)?.[layer * trace.kvHeads + head];
  if (!scores) {
    return (
      <Panel title="Role">
        {trace.hasFindings ? <Waiting what="the scores of heads" /> : <p class="note">Told when the run has written its first tokens.</p>}
      </Panel>
    );
  }
  const of = (name: string) => (typeof scores[name] === "number" ? (scores[name] as number) : null);
  const quartiles = scores.lifetime_quartiles as (number | null)[] | undefined;
  const rows: [string, string][] = [
    ["median half-life", `${number(scores.median_half_life)} tokens`],
    ["lifetimes", quartiles ? `${quartiles.map((age) => (age === null ? "to the end" : count(age))).join(" / ")} (quartiles)` : "–"],
    ["kept, evicted", `${count(scores.kept)}, ${count(scores.evicted)}`],
    ["sparsity", percent(scores.sparsity)],
    ["sinks held", of("sink_held") === null ? "–" : `${of("sink_held")} of 4 (by chance ${number(of("sink_expected"))})`],
    ["window purity", `${percent(of("window_purity"))} (by chance ${percent(of("window_purity_by_chance"))})`],
  ];
  const enriched = ((scores.categories as Category[] | undefined) ?? [])
    .filter(({ enrichment, q }) => enrichment !== null && enrichment > 1 && q !== null && q < 0.05)
    .sort((a, b) => (b.enrichment ?? 0) - (a.enrichment ?? 0))
    .slice(0, 4);
  return (
    <Panel title="Role" hint={trace.facts.manifest.status === "running" ? `as of ${count(trace.facts.manifest.seen ?? 0)} tokens` : undefined} class="head-card">
      <p class="role-line">
        <span class="badge" style={{ "--role": roleColour(scores.role) }}>
          {scores.role}
        </span>
        {scores.also.length > 0 && <span class="hint"> also {scores.also.join(", ")}</span>}
      </p>
      <p class="why">{scores.evidence}</p>
      <dl>
        {rows.map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </>
        ))}
        {enriched.length > 0 && (
          <>
            <dt>keeps more</dt>
            <dd>{enriched.map(({ category, enrichment }) => `${category.replaceAll("_", " ")} ×${number(enrichment)}`).join(", ")}</dd>
          </>
        )}
      </dl>
    </Panel>
  );
}
