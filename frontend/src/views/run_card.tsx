// What was run, in a few lines, and what the checks say of it.
import { bytes, count, seconds } from "../base/format";
import { whenWords } from "../base/when";
import { policyWords } from "../data/budget";
import type { Live } from "../data/live";
import type { Manifest } from "../data/model";
import { here, type Trace } from "../data/trace";
import { Panel } from "./panel";
import { cacheWords } from "./top_bar";

export function RunCard({ trace, live }: { trace: Trace; live: Live | undefined }) {
  const { manifest, path, source } = trace.facts;
  const { model, policy, sampling, prompt, generated, device, gates } = manifest;
  const time = manifest.seconds;
  const rate = time?.decode && generated?.tokens ? generated.tokens / time.decode : undefined;
  const isRunning = manifest.status === "running";
  const pulse = isRunning ? live?.pulse.value : undefined;
  const rows: [string, string][] = [
    ["model", [model.name, `${model.layers} layers × ${model.kv_heads} KV heads`, model.dtype].filter(Boolean).join(", ")],
    ["policy", policyWords(policy)],
    ["gates", gates ? [gates.kind, gates.source].filter(Boolean).join(", ") : "none"],
    ["tokens", isRunning ? tokensSoFar(trace) : `${count(prompt?.tokens ?? 0)} of the prompt, ${count(generated?.tokens ?? 0)} generated${generated?.stop ? ` (${generated.stop})` : ""}`],
    ["cache", pulse ? `${bytes(pulse.cacheBytes)} now, of ${bytes(pulse.fullBytes)} for the full cache` : isRunning ? "–" : cacheWords(trace)],
    ["speed", isRunning ? rateWords(pulse?.rate) : rate ? `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s, prompt read in ${seconds(time?.prefill)}` : "not told"],
    ["drawn", drawn(sampling)],
    ["on", [device, manifest.created && whenWords(manifest.created, new Date())].filter(Boolean).join(", ") || "not told"],
  ];
  const diagnoses = here(trace.diagnoses) ?? [];
  return (
    <Panel title="Run" class="run-card">
      <dl>
        {rows.map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </>
        ))}
        {path && source !== "bundled" && (
          <>
            <dt>trace</dt>
            <dd class="path" title={path}>
              <bdi>{path}</bdi>
            </dd>
          </>
        )}
      </dl>
      {diagnoses.length > 0 && (
        <ul class="findings" aria-label="What the checks say">
          {isRunning && <li class="hint">as of {count(manifest.seen ?? 0)} tokens:</li>}
          {diagnoses.slice(0, 4).map((found) => (
            <li class={found.severity}>{found.message}</li>
          ))}
        </ul>
      )}
      {manifest.status === "interrupted" && <p class="note">This run was interrupted; what it recorded until then is shown.</p>}
    </Panel>
  );
}

/** What a run in progress has read and drawn. */
function tokensSoFar(trace: Trace): string {
  const read = trace.seen.value;
  const prompt = trace.facts.manifest.prompt?.tokens ?? 0;
  if (prompt === 0) return `${count(read)} so far`;
  if (read < prompt) return `${count(read)} of the prompt's ${count(prompt)} read`;
  return `${count(prompt)} of the prompt, ${count(Math.max(read, here(trace.tokens)?.count ?? 0) - prompt)} generated so far`;
}

function rateWords(rate: number | null | undefined): string {
  return rate ? `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s now` : "–";
}

function drawn(sampling: Manifest["sampling"]): string {
  if (sampling?.greedy) return "greedily";
  if (typeof sampling?.temperature !== "number") return "not told";
  return `temperature ${sampling.temperature}, top-p ${sampling.top_p ?? 1}, seed ${sampling.seed ?? 0}`;
}
