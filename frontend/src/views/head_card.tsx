// What the analysis says of the chosen head: its role, why, and the numbers behind it.
import { count, number, percent } from "../base/format";
import { evidenceWords, scoreWords } from "../base/score_words";
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

const ENRICHMENT = "Kinds of tokens that old entries hold more of than the text around them: share / expected share, where q < 0.05. A ratio, from 0; 1 is chance.";

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
  const rows: [string, string, string?][] = [
    ["median half-life", `${number(scores.median_half_life)} tokens`, scoreWords("median_half_life")],
    ["lifetimes", quartiles ? `${quartiles.map((age) => (age === null ? "to the end" : count(age))).join(" / ")} (quartiles)` : "–", "Ages by which 25, 50 and 75 % of the tokens had left, with those alive at the end counted as not yet gone (Kaplan-Meier). In tokens, from 1."],
    ["kept, evicted", `${count(scores.kept)}, ${count(scores.evicted)}`, `${scoreWords("kept")} ${scoreWords("evicted")}`],
    ["sparsity", percent(scores.sparsity), scoreWords("sparsity")],
    ["sinks held", of("sink_held") === null ? "–" : `${of("sink_held")} of 4 (by chance ${percent(of("sink_expected"))})`, `${scoreWords("sink_held")} ${scoreWords("sink_expected")}`],
    ["window purity", `${percent(of("window_purity"))} (by chance ${percent(of("window_purity_by_chance"))})`, scoreWords("window_purity")],
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
      <p class="why">{evidenceWords(scores.evidence)}</p>
      <dl>
        {rows.map(([name, value, means]) => (
          <>
            <dt title={means}>{name}</dt>
            <dd title={means} aria-description={means}>
              {value}
            </dd>
          </>
        ))}
        {enriched.length > 0 && (
          <>
            <dt title={ENRICHMENT}>keeps more</dt>
            <dd title={ENRICHMENT} aria-description={ENRICHMENT}>{enriched.map(({ category, enrichment }) => `${category.replaceAll("_", " ")} ×${number(enrichment)}`).join(", ")}</dd>
          </>
        )}
      </dl>
    </Panel>
  );
}
