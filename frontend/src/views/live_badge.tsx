// How a run in progress stands: tokens seen, speed, time left, cache against full cache; and a button that stops it.
import { useEffect, useState } from "preact/hooks";
import { bytes, count, seconds } from "../base/format";
import { Live, type LiveState, type Pulse, isRunning } from "../data/live";
import { ask } from "../data/source";
import type { Trace } from "../data/trace";

const SAYS: Record<LiveState, string> = {
  connecting: "connecting",
  live: "live",
  reconnecting: "reconnecting",
  gone: "server gone",
  ended: "ended",
};

/** Follows the trace's run while the page shows it; undefined when it is not in progress. */
export function useLive(trace: Trace): Live | undefined {
  const [live, setLive] = useState<Live | undefined>();
  useEffect(() => {
    if (!isRunning(trace)) return;
    const follower = new Live(trace);
    setLive(follower);
    return () => {
      follower.close();
      setLive(undefined);
    };
  }, [trace]);
  return live;
}

/** What the badge says besides the state. */
export function pulseWords(pulse: Pulse | undefined): string[] {
  if (!pulse) return [];
  const { seen, rate, etaSeconds, cacheBytes, fullBytes } = pulse;
  return [
    `${count(seen)} tokens`,
    rate === null ? "" : `${rate < 10 ? rate.toFixed(1) : count(rate)} tokens/s`,
    etaSeconds === null ? "" : `${seconds(etaSeconds)} left`,
    fullBytes > 0 ? `${bytes(cacheBytes)} of ${bytes(fullBytes)}` : "",
  ].filter(Boolean);
}

export function LiveBadge({ trace, live }: { trace: Trace; live: Live }) {
  const [refused, setRefused] = useState<string | undefined>();
  const [isStopping, setStopping] = useState(false);
  const state = live.state.value;
  const outcome = live.outcome.value;
  const words = state === "ended" ? [] : pulseWords(live.pulse.value);
  const stop = () => {
    if (isStopping) return;
    setStopping(true);
    setRefused(undefined);
    ask(`/api/runs/${encodeURIComponent(trace.facts.key)}/stop`, { method: "POST" }).catch((error: unknown) => {
      setStopping(false);
      setRefused(error instanceof Error ? error.message : String(error));
    });
  };
  return (
    <div class="live" data-state={state}>
      <span class="live-state" role="status">
        <i aria-hidden="true" />
        {state === "ended" && outcome ? (outcome === "complete" ? "complete" : outcome) : SAYS[state]}
      </span>
      {words.length > 0 && (
        <span class="live-words" title="Tokens seen, speed, time left, bytes of cache against a full cache">
          {words.join(" · ")}
        </span>
      )}
      {state !== "ended" && trace.facts.source === "live" && (
        <button onClick={stop} aria-disabled={isStopping} title="Stops the run after its current step; what it recorded is kept">
          {isStopping ? "Stopping" : "Stop"}
        </button>
      )}
      {refused && (
        <span class="failed" role="alert">
          {refused}
        </span>
      )}
    </div>
  );
}
