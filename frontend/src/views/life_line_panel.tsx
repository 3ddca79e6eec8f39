// "Why evicted": the life lines of the pinned and the followed tokens in the chosen head, and their ends in words.
import { useMemo, useState } from "preact/hooks";
import { count, visible } from "../base/format";
import type { LayerColumns } from "../data/columns";
import type { Cuts } from "../data/model";
import { here, type Trace } from "../data/trace";
import { seriesColour } from "../state/theme";
import { hover, show, view } from "../state/view";
import { type Example, type ScoreRule, examples, fate, lifeLine, scoreRule, unitOf } from "./life_line";
import { type HeadCuts, NO_CUTS, cutsOfHead } from "./life_line_cuts";
import { type Drawn, LifeLinePlot, momentWords, scoresOf, spanOf } from "./life_line_plot";
import { canBeLog, wantsLog } from "./life_line_scale";
import { Choice, Failed, Panel, type TableData, Waiting } from "./panel";

/** Rows of the table. */
const TABLE_ROWS = 1000;
const LETTERS = "ABCDEFGHI";

/** A token to show: why it is shown, and whether somebody chose it. */
interface Followed {
  position: number;
  because: string;
  isExample: boolean;
}

/** The pinned and the followed tokens, else the examples. */
function followedOf(among: readonly Example[]): Followed[] {
  const { token, pins } = view.value;
  const chosen = [...(token === null ? [] : [{ position: token, because: "pinned", isExample: false }])];
  for (const position of pins) if (position !== token) chosen.push({ position, because: "followed", isExample: false });
  if (chosen.length > 0) return chosen.slice(0, LETTERS.length);
  return among.map(({ position, rule }) => ({ position, because: `example: ${rule}`, isExample: true }));
}

export function LifeLinePanel({ trace }: { trace: Trace }) {
  const { layer } = view.value;
  const lives = trace.layer(layer).value;
  const cutting = trace.cuts(layer).value;
  void trace.version.value;
  if (lives.state === "failed") return <Panel title="Why evicted"><Failed why={lives.why} /></Panel>;
  if (lives.state === "waiting" || cutting.state === "waiting") return <Panel title="Why evicted"><Waiting what={`the lives and cuts of layer ${layer}`} /></Panel>;
  return <LoadedLives trace={trace} columns={lives.value} version={lives.value.version} cuts={cutting.state === "here" ? cutting.value : undefined} />;
}

function LoadedLives({ trace, columns, version, cuts }: { trace: Trace; columns: LayerColumns; version: number; cuts: Cuts | undefined }) {
  const { head } = view.value;
  const { manifest } = trace.facts;
  // "Now" moves many times a second while a run is played; a head's tokens do not change with it.
  const among = useMemo(() => examples(columns, head), [columns, version, head]);
  const ofHead = useMemo(() => (cuts ? cutsOfHead(cuts, head) : NO_CUTS), [cuts, head]);
  const rule = useMemo(() => scoreRule(manifest.policy, columns.logBeta.some((value) => !Number.isNaN(value))), [manifest, columns, version]);
  const followed = followedOf(among);
  const drawn: Drawn[] = followed
    .map(({ position }, index) => ({ position, letter: LETTERS[index], colour: seriesColour(index) }))
    .filter(({ position }) => position < columns.seen)
    .map(({ position, letter, colour }) => ({ letter, colour, line: lifeLine(rule, columns, head, position, ofHead) }));
  return <Lives trace={trace} rule={rule} cuts={ofHead} followed={followed} drawn={drawn} seen={columns.seen} />;
}

interface LivesProps {
  trace: Trace;
  rule: ScoreRule;
  cuts: HeadCuts;
  followed: readonly Followed[];
  drawn: readonly Drawn[];
  seen: number;
}

function Lives({ trace, rule, cuts, followed, drawn, seen }: LivesProps) {
  const { layer, head } = view.value;
  const [scale, setScale] = useState<"log" | "linear" | null>(null);
  const [reach, setReach] = useState<"lives" | "run">("lives");
  const span = reach === "run" || drawn.length === 0 ? ([0, seen] as const) : spanOf(drawn.map(({ line }) => line), seen);
  const { all, decided } = scoresOf({ trace, drawn, cuts, span });
  const shown = scale ?? (wantsLog(decided) ? "log" : "linear");
  const tokens = Math.min(seen, (hover.query.value ?? view.value.now ?? seen - 1) + 1);
  const isDrawable = all.length > 0;
  return (
    <Panel
      title="Why evicted"
      hint={hintOf(rule, trace)}
      class="lives"
      table={drawn.length > 0 ? () => livesTable(trace, drawn, cuts, span, `layer ${layer}, head ${head}`) : undefined}
      tools={
        isDrawable && (
          <>
            <Choice<"lives" | "run"> label="Tokens shown" value={reach} options={[["lives", "Their lives"], ["run", "Whole run"]]} onChoose={setReach} />
            {canBeLog(all) && <Choice<"linear" | "log"> label="Axis of scores" value={shown} options={[["linear", "Linear"], ["log", "Log"]]} onChoose={setScale} />}
          </>
        )
      }
    >
      <div class="lives-body">
        <div class="lives-picture">
          {isDrawable ? (
            <LifeLinePlot trace={trace} drawn={drawn} cuts={cuts} isLog={shown === "log"} unit={unitOf(rule)} span={span} />
          ) : (
            <p class="waiting">{emptyWords(trace, drawn)}</p>
          )}
          <p class="plot-note">
            <b>after {count(tokens)}</b> {momentWords({ drawn, cuts }, tokens)}
          </p>
        </div>
        <LifeList trace={trace} rule={rule} followed={followed} drawn={drawn} seen={seen} />
      </div>
    </Panel>
  );
}

function hintOf(rule: ScoreRule, trace: Trace): string {
  const { policy } = trace.facts.manifest;
  if (policy?.name === "full") return "The full cache evicts nothing, so nothing is scored.";
  const pooled = policy?.scope === "layer" || policy?.scope === "global" ? ` Heads of the ${policy.scope === "layer" ? "layer" : "model"} compete for places together.` : "";
  switch (rule.kind) {
    case "retention":
      return `A token's score is log β × age${rule.plusConstant ? " + log of its key's norm" : ""}; at a cut, those under the line go.${pooled}`;
    case "position":
      return `A token's score is its position: the oldest go first.${policy?.sinks ? ` The first ${policy.sinks} are protected.` : ""}${pooled}`;
    case "fixed":
      return `A token's score is drawn when it is born and stays.${pooled}`;
    case "recorded":
      return `Only the last score of a token is shown: ${rule.why}.`;
  }
}

function emptyWords(trace: Trace, drawn: readonly Drawn[]): string {
  if (drawn.length === 0) return "No token has been read yet.";
  if (trace.facts.manifest.policy?.name === "full") return "Nothing was evicted and nothing scored: the full cache keeps every token.";
  return "The trace records neither scores nor the thresholds of its cuts, so only when a token left is known, not why.";
}

function LifeList({ trace, rule, followed, drawn, seen }: { trace: Trace; rule: ScoreRule; followed: readonly Followed[]; drawn: readonly Drawn[]; seen: number }) {
  const text = here(trace.tokens)?.text;
  const { policy } = trace.facts.manifest;
  const { token, pins } = view.value;
  return (
    <ol class="life-list" aria-label="Tokens shown" tabIndex={0}>
      {followed.map(({ position, because, isExample }, index) => {
        const found = drawn.find(({ letter }) => letter === LETTERS[index]);
        return (
          <li key={position} onPointerEnter={() => (hover.token.value = position)} onPointerLeave={() => (hover.token.value = null)}>
            <p class="life-name">
              <i class="letter" style={{ "--series": seriesColour(index) }}>
                {LETTERS[index]}
              </i>
              <b class="n">{text ? visible(text[position] ?? "") : `token ${count(position)}`}</b>
              <span class="hint">{because}</span>
              {isExample ? (
                <button class="quiet" onClick={() => show({ token: position })}>
                  pin
                </button>
              ) : position === token ? (
                <button class="quiet" onClick={() => show({ token: null, pins: pins.filter((pin) => pin !== position) })}>
                  unpin
                </button>
              ) : (
                <button class="quiet" onClick={() => show({ pins: pins.filter((pin) => pin !== position) })}>
                  drop
                </button>
              )}
            </p>
            <p class="life-fate">
              {found ? fate(found.line, policy, seen) : "Written, but never read by the model: it has no life in any cache."}
              {found?.line.why && rule.kind !== "recorded" && <span class="hint"> Its line is not drawn: {found.line.why}.</span>}
            </p>
          </li>
        );
      })}
      {followed.some(({ isExample }) => isExample) && <li class="hint">Nothing is pinned. Pin a token in the text (or with J and K) to see its line here; P follows it.</li>}
    </ol>
  );
}

/** Scores at the cuts that weighed the tokens. */
function livesTable(trace: Trace, drawn: readonly Drawn[], cuts: HeadCuts, span: readonly [number, number], where: string): TableData {
  const text = here(trace.tokens)?.text;
  const rounded = (score: number) => (Number.isNaN(score) ? "–" : Number(score.toPrecision(5)));
  const rows: (string | number)[][] = [];
  cuts.tokensSeen.forEach((tokens, cut) => {
    if (tokens < span[0] || tokens > span[1]) return;
    const scores = drawn.map(({ line }) => {
      if (tokens <= line.position || (line.evictedAt !== null && tokens > line.evictedAt)) return "";
      const computed = line.scoreAt(tokens);
      const score = Number.isNaN(computed) && tokens === line.weighedAt ? line.score : computed;
      return tokens === line.evictedAt ? `${rounded(score)} evicted` : rounded(score);
    });
    rows.push([tokens, cuts.cachedBefore[cut], cuts.kept[cut], rounded(cuts.threshold[cut]), ...scores]);
  });
  return {
    caption: `Scores at the cuts of ${where}`,
    columns: ["tokens seen", "cached before", "kept", "lowest that stayed", ...drawn.map(({ line, letter }) => `${letter}: ${visible(text?.[line.position] ?? "")} ${line.position}`)],
    rows: rows.slice(0, TABLE_ROWS),
    total: rows.length,
  };
}
