// One trace in one window: the bar, the screens, the time strip under them.
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { plural } from "./base/format";
import { Trace } from "./data/trace";
import type { TraceSource } from "./data/source";
import { HeadScreen } from "./screens/head";
import { OverviewScreen } from "./screens/overview";
import { TextScreen } from "./screens/text";
import { TimeScreen } from "./screens/time";
import { offerNavigation } from "./state/navigation";
import { SCREENS, type Screen, show, view } from "./state/view";
import { Notices, OpenFailed } from "./views/notices";
import { Shell } from "./views/shell";
import { useLive } from "./views/live_badge";
import { Waiting } from "./views/panel";
import { RunForm } from "./views/run_form";
import { TimeStrip } from "./views/time_strip";
import { TopBar } from "./views/top_bar";

const TITLES: Record<Screen, string> = { overview: "Overview", head: "Head", text: "Text", time: "Time" };

export function TraceApp({ source }: { source: TraceSource }) {
  const [opened, setOpened] = useState<Trace | { why: string } | undefined>();
  useEffect(() => {
    Trace.open(source).then(setOpened, (error: unknown) => setOpened({ why: error instanceof Error ? error.message : String(error) }));
  }, [source]);
  if (!opened) return <Waiting what="the trace" />;
  if (!(opened instanceof Trace)) return <OpenFailed why={opened.why} />;
  return <TraceWindow trace={opened} />;
}

function TraceWindow({ trace }: { trace: Trace }) {
  useLayoutEffect(() => offerNavigation(trace), [trace]);
  const live = useLive(trace);
  useEffect(() => {
    const { layer, head } = view.peek();
    // An address may name a head that another trace has.
    if (layer >= trace.layers || head >= trace.kvHeads) show({ layer: 0, head: 0 });
    document.title = `${trace.facts.title} · trimkv-trace`;
  }, [trace]);
  const { screen } = view.value;
  return (
    <div class="window" data-screen={screen}>
      <TopBar trace={trace} live={live} />
      <nav class="tabs" aria-label="Screens">
        {SCREENS.map((name) => (
          <button aria-current={name === screen ? "page" : undefined} onClick={() => show({ screen: name })}>
            {TITLES[name]}
          </button>
        ))}
      </nav>
      <Notices trace={trace} />
      <main class="screen" id="main" aria-label={`${TITLES[screen]} of ${trace.facts.title}, ${plural(trace.layers * trace.kvHeads, "head")}`}>
        {screen === "overview" && <OverviewScreen trace={trace} live={live} />}
        {screen === "head" && <HeadScreen trace={trace} />}
        {screen === "text" && <TextScreen trace={trace} />}
        {screen === "time" && <TimeScreen trace={trace} />}
      </main>
      <TimeStrip trace={trace} />
      <Shell trace={trace} hasServer={trace.facts.source !== "report"} />
      {trace.source.events && <RunForm />}
    </div>
  );
}
