// S3: the run as text, and beside it all that is known of one token.
import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { Tokens } from "../data/model";
import { here, type Trace } from "../data/trace";
import { offer } from "../state/commands";
import { PROSE_COLOURS, hover, show, view } from "../state/view";
import { Choice, Failed, Panel, Waiting } from "../views/panel";
import { Prose } from "../views/prose";
import { PROSE_TITLES, ProseLegend } from "../views/prose_legend";
import type { ProseView } from "../views/prose_view";
import { SearchBar } from "../views/search_bar";
import { TextSearch } from "../views/search_state";
import { TokenCard } from "../views/token_card";

/** Letters of one width, for code and columns. Stays while the page does. */
const isMono = signal(false);

export function TextScreen({ trace }: { trace: Trace }) {
  const answer = trace.tokens.value;
  if (answer.state === "waiting") return <Waiting what="the text" />;
  if (answer.state === "failed") return <Failed why={answer.why} />;
  return <Reader trace={trace} tokens={answer.value} />;
}

function Reader({ trace, tokens }: { trace: Trace; tokens: Tokens }) {
  const prose = useRef<ProseView>(undefined);
  const search = useMemo(() => new TextSearch(() => here(trace.tokens) ?? tokens), [trace]);
  useEffect(() => search.follow(), [search]);
  useLayoutEffect(
    () =>
      offer([
        {
          id: "prose-colour",
          title: "Colour the text by alive, half-life, when it left, keepers",
          group: "Text",
          keys: ["b"],
          run: () => show({ prose: PROSE_COLOURS[(PROSE_COLOURS.indexOf(view.peek().prose) + 1) % PROSE_COLOURS.length] }),
        },
        { id: "prose-mono", title: "Text in letters of one width, or not", group: "Text", keys: ["m"], run: () => (isMono.value = !isMono.peek()) },
        {
          id: "copy-text",
          title: "Copy the whole text",
          group: "Text",
          keys: [],
          run: () => void navigator.clipboard?.writeText((here(trace.tokens) ?? tokens).text.join("")),
        },
      ]),
    [trace],
  );
  const step = (by: -1 | 1) => {
    const found = search.step(by, hover.token.peek() ?? view.peek().token ?? prose.current?.firstSeen ?? 0);
    if (found === undefined) return;
    prose.current?.reveal(found);
    hover.token.value = found;
  };
  return (
    <div class="text-screen">
      <Panel
        title="Text"
        class="reader"
        tools={
          <>
            <SearchBar search={search} onStep={step} onLeave={() => prose.current?.focus(prose.current.rovingToken)} />
            <Choice label="What the text shows" value={view.value.prose} options={PROSE_COLOURS.map((colour) => [colour, PROSE_TITLES[colour]] as const)} onChoose={(prose) => show({ prose })} />
            <button class="mono-choice" aria-pressed={isMono.value} title="Letters of one width (M)" onClick={() => (isMono.value = !isMono.value)}>
              Mono
            </button>
          </>
        }
      >
        {!trace.facts.text_known && <p class="note">This trace has no text; the tokens' ids stand for it.</p>}
        <Prose trace={trace} tokens={tokens} search={search} isMono={isMono.value} onReady={(made) => (prose.current = made)} />
        <ProseLegend trace={trace} />
      </Panel>
      <aside class="card-side" aria-label="One token">
        <TokenCard trace={trace} />
      </aside>
    </div>
  );
}
