// Lines under the bar for what the reader must know before believing a picture: nothing was evicted, the run was not
// finished, the server is gone, there is no WebGL2.
import { useComputed, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { count } from "../base/format";
import { budgetOf } from "../data/budget";
import { serverThere } from "../data/source";
import { here, type Trace } from "../data/trace";
import { painter } from "../paint/painter";
import { lookForServer } from "../state/server";

/** Why a run evicted nothing, in a sentence; undefined when it did, or when its steps are not told. */
export function whyNothingEvicted(steps: { count: number; evicted: ArrayLike<number> }, policy: { name: string; budget?: number; buffer?: number } | undefined, seen: number): string | undefined {
  if (steps.count === 0 || Array.from(steps.evicted).some((entries) => entries > 0)) return undefined;
  if (policy?.name === "full") return `Nothing was evicted: a full cache keeps all ${count(seen)} tokens in every head.`;
  const limits = budgetOf(policy);
  if (!limits) return `Nothing was evicted: the policy${policy ? ` ${policy.name}` : ""} sets no budget, so every head keeps all ${count(seen)} tokens.`;
  const inWords = `a budget of ${count(limits.budget)}${limits.buffer > 0 ? ` and a buffer of ${count(limits.buffer)}` : ""} tokens per head`;
  return seen <= limits.limit
    ? `Nothing was evicted: the run saw ${count(seen)} tokens, and ${inWords} was never exceeded.`
    : `Nothing was evicted, although the run saw ${count(seen)} tokens and has ${inWords}; the run card's checks may say why.`;
}

export function Notices({ trace }: { trace: Trace }) {
  const { manifest, source } = trace.facts;
  const nothing = useComputed(() => {
    const steps = here(trace.steps);
    return steps && manifest.status !== "running" ? whyNothingEvicted(steps, manifest.policy, trace.seen.value) : undefined;
  });
  return (
    <div class="notices">
      {source !== "report" && <ServerGone />}
      {manifest.status === "interrupted" && <Notice>This run was not finished; it is shown up to token {count(trace.seen.value)}, the last one recorded.</Notice>}
      {nothing.value && <Notice>{nothing}</Notice>}
      <NoWebGl />
    </div>
  );
}

/** Says that the server is gone, and looks for it again. */
export function ServerGone() {
  const isLooking = useSignal(false);
  const wasGone = useSignal(false);
  const isThere = serverThere.value;
  useEffect(() => {
    if (!isThere) wasGone.value = true;
  }, [isThere]);
  if (isThere) {
    return wasGone.value ? (
      <Notice action={<button onClick={() => location.reload()}>Load again</button>} onDismiss={() => (wasGone.value = false)}>
        The server is back.
      </Notice>
    ) : null;
  }
  const retry = async () => {
    isLooking.value = true;
    await lookForServer();
    isLooking.value = false;
  };
  return (
    <Notice tone="alert" action={<button disabled={isLooking.value} onClick={retry}>Retry</button>}>
      The server does not answer. What is on the page stays; start it again with <code>trimkv-trace open</code>.
    </Notice>
  );
}

function NoWebGl() {
  const [name, setName] = useState(() => painter().name);
  const [isSeen, setSeen] = useState(true);
  useEffect(() => {
    const changed = () => setName(painter().name);
    addEventListener("painter-changed", changed);
    return () => removeEventListener("painter-changed", changed);
  }, []);
  if (name === "WebGL2" || !isSeen) return null;
  return (
    <Notice tone="quiet" onDismiss={() => setSeen(false)}>
      Drawn without WebGL2: the same pictures, more slowly.
    </Notice>
  );
}

interface NoticeProps {
  tone?: "plain" | "alert" | "quiet";
  action?: ComponentChildren;
  onDismiss?: () => void;
  children: ComponentChildren;
}

export function Notice({ tone = "plain", action, onDismiss, children }: NoticeProps) {
  return (
    <div class="notice" data-tone={tone} role={tone === "alert" ? "alert" : "status"}>
      <p>{children}</p>
      {action}
      {onDismiss && (
        <button class="icon quiet close" aria-label="Dismiss" onClick={onDismiss}>
          ✕
        </button>
      )}
    </div>
  );
}

/** In place of the window, when a trace cannot be shown. */
export function OpenFailed({ why }: { why: string }) {
  return (
    <main class="open-failed">
      <h1>This trace cannot be shown</h1>
      <p role="alert">{why}</p>
      <p>
        <a href="/">List of traces</a>
        <button onClick={() => location.reload()}>Try again</button>
      </p>
    </main>
  );
}
