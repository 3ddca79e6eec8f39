// All that is known of one token: what it is, who keeps it, and its life in the chosen head.
import { STILL_CACHED } from "../base/cells";
import { count, number, percent, visible } from "../base/format";
import { type Keeper } from "../data/keepers";
import { keepersOf } from "../data/keepers_reader";
import type { Tokens } from "../data/model";
import { here, type Trace } from "../data/trace";
import { marked, show, view } from "../state/view";
import { Panel } from "./panel";
import { roleOf } from "./prose_blocks";
import { TokenGrid } from "./token_grid";
import { lifeInWords } from "./token_words";

/** The token under the pointer, else the pinned one. */
export function TokenCard({ trace }: { trace: Trace }) {
  const tokens = here(trace.tokens);
  const position = marked.value;
  if (!tokens || position === null || position >= tokens.count) {
    return (
      <Panel title="Token" class="token-card">
        <p class="note">Point at a token to see what it is and which heads keep it; a click pins it.</p>
      </Panel>
    );
  }
  return (
    <div class="token-card">
      <TokenFacts trace={trace} tokens={tokens} position={position} />
      <TokenLives trace={trace} position={position} />
    </div>
  );
}

function TokenFacts({ trace, tokens, position }: { trace: Trace; tokens: Tokens; position: number }) {
  const isPinned = view.value.token === position;
  const logprob = tokens.logprob[position];
  const role = roleOf(tokens, position);
  const facts: [string, string][] = [
    ["position", `${count(position)} of ${count(tokens.count)}`],
    ["id", String(tokens.tokenId[position])],
    ["from", [tokens.origin[position] === 0 ? "prompt" : "generated", role].filter(Boolean).join(", ")],
    ["class", (tokens.classNames[tokens.class[position]] ?? "not told").replaceAll("_", " ")],
  ];
  // A token of the prompt has the same rows, so that nothing moves from one token to the next.
  const isDrawn = tokens.origin[position] === 1;
  const entropy = tokens.entropy[position];
  const chance = Number.isNaN(logprob) ? "not told" : `${percent(Math.exp(logprob))}  (${number(logprob)} nats)`;
  facts.push(["chance", isDrawn ? chance : "–"], ["entropy", !isDrawn ? "–" : Number.isNaN(entropy) ? "not told" : `${number(entropy)} nats`]);
  const text = trace.facts.text_known ? shortened(visible(tokens.text[position])) : "text not known";
  return (
    <Panel
      title="Token"
      class="token-facts"
      tools={
        <button class="quiet" aria-pressed={isPinned} title={isPinned ? "Let go (Esc)" : "Keep this token here"} onClick={() => show({ token: isPinned ? null : position })}>
          {isPinned ? "pinned" : "pin"}
        </button>
      }
    >
      <p class="token-text" dir="auto" title={text}>{text}</p>
      <dl>
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd title={value}>{value}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}

/** The start of a text that is too long for the card. */
function shortened(text: string): string {
  const characters = [...text];
  return characters.length > 160 ? `${characters.slice(0, 140).join("")}… ${count(characters.length)} characters` : text;
}

function TokenLives({ trace, position }: { trace: Trace; position: number }) {
  void trace.version.value;
  const seen = trace.seen.value;
  const { layer, head, token, prose, screen } = view.value;
  // All layers of a long run are much to ask for while the pointer only passes by.
  const isWanted = token !== null || prose === "keepers" || trace.overviewPool === 1;
  const state = keepersOf(trace, isWanted).value;
  const columns = here(trace.layer(layer));
  const cuts = here(trace.cuts(layer));
  const now = Math.min(view.value.now ?? seen - 1, seen - 1);
  if (position >= seen) return <p class="note">The last token drawn: the model never read it, so no head holds it.</p>;
  const at = columns && position < columns.seen ? columns.at(head, position) : undefined;
  const words =
    columns && at !== undefined
      ? lifeInWords({ position, now, logBeta: columns.logBeta[at], evictedAt: columns.evictedAt[at], lastScore: columns.lastScore[at] }, head, cuts)
      : undefined;
  // Of all heads; of some it would be another's.
  const extremes = state.counted === trace.layers ? state.keepers.extremes(position) : undefined;
  const life = (
    <Panel key="life" title={`In layer ${layer} head ${head}`} class="token-life">
      {words ? (
        <>
          <p>{words.state} {words.fading}</p>
          <p>{words.end}</p>
        </>
      ) : (
        <p class="hint">reading the layer …</p>
      )}
      {extremes ? <Extremes {...extremes} /> : <div class="extremes" />}
    </Panel>
  );
  const grid =
    isWanted || state.counted > 0 ? (
      <TokenGrid key="grid" trace={trace} position={position} now={now} state={state} />
    ) : (
      <p key="grid" class="note">Click a token to read all {trace.layers} layers and see which heads keep it.</p>
    );
  // Beside one head its own story comes first, beside the text that of all heads.
  return <>{screen === "head" ? [life, grid] : [grid, life]}</>;
}

/** The heads that keep it longest and shortest, over the whole run. */
function Extremes({ longest, shortest, stillCached }: { longest: Keeper; shortest: Keeper; stillCached: number }) {
  if (longest.evictedAt === shortest.evictedAt) {
    return <p class="extremes hint">{longest.evictedAt === STILL_CACHED ? "No head evicted it." : `All heads evicted it at ${count(longest.evictedAt)}.`}</p>;
  }
  return (
    <dl class="extremes">
      <div>
        <dt>longest</dt>
        <dd>
          <HeadLink keeper={longest} />
          {stillCached > 1 && `, as in ${count(stillCached - 1)} more`}
        </dd>
      </div>
      <div>
        <dt>shortest</dt>
        <dd>
          <HeadLink keeper={shortest} />
        </dd>
      </div>
    </dl>
  );
}

function HeadLink({ keeper: { layer, head, evictedAt } }: { keeper: Keeper }) {
  return (
    <>
      <button class="link" onClick={() => show({ layer, head })}>
        layer {layer} head {head}
      </button>
      {evictedAt === STILL_CACHED ? ", still cached" : `, until ${count(evictedAt)}`}
    </>
  );
}
