// What was run, in a few lines, and what the checks say of it.
import { bytes, count, seconds } from "../base/format";
import { whenWords } from "../base/when";
import type { Manifest } from "../data/model";
import { here, type Trace } from "../data/trace";
import { Panel } from "./panel";
import { cacheWords } from "./top_bar";

export function RunCard({ trace }: { trace: Trace }) {
  const { manifest, path, source } = trace.facts;
  const { model, policy, sampling, prompt, generated, device, gates } = manifest;
  const time = manifest.seconds;
  const rate = time?.decode && generated?.tokens ? generated.tokens / time.decode : undefined;
  const rows: [string, string][] = [
    ["model", [model.name, `${model.layers} layers × ${model.kv_heads} KV heads`, model.dtype].filter(Boolean).join(", ")],
    ["policy", policy ? `${policy.name}${policy.budget === undefined ? "" : `, budget ${count(policy.budget)} + buffer ${count(policy.buffer ?? 0)} per ${policy.scope ?? "head"}`}` : "not told"],
    ["gates", gates ? [gates.kind, gates.source].filter(Boolean).join(", ") : "none"],
    ["tokens", `${count(prompt?.tokens ?? 0)} of the prompt, ${count(generated?.tokens ?? 0)} generated${generated?.stop ? ` (${generated.stop})` : ""}`],
    ["cache", cacheWords(trace)],
    ["speed", rate ? `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s, prompt read in ${seconds(time?.prefill)}` : "not told"],
    ["drawn", drawn(sampling)],
    ["on", [device, manifest.created && whenWords(manifest.created, new Date())].filter(Boolean).join(", ") || "not told"],
  ];
  const diagnoses = (here(trace.diagnoses) ?? []).filter((found) => found.severity !== "info" && found.level !== "info");
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
        <ul class="warnings" aria-label="What the checks say">
          {diagnoses.slice(0, 4).map((found) => (
            <li>{String(found.message ?? found.text ?? found.name ?? JSON.stringify(found))}</li>
          ))}
        </ul>
      )}
      {manifest.status === "interrupted" && <p class="note">This run was interrupted; what it recorded until then is shown.</p>}
      {manifest.bytes?.cache_now !== undefined && manifest.status === "running" && <p class="note">Running; the cache holds {bytes(manifest.bytes.cache_now)}.</p>}
    </Panel>
  );
}

function drawn(sampling: Manifest["sampling"]): string {
  if (sampling?.greedy) return "greedily";
  if (typeof sampling?.temperature !== "number") return "not told";
  return `temperature ${sampling.temperature}, top-p ${sampling.top_p ?? 1}, seed ${sampling.seed ?? 0}`;
}
