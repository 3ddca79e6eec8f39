// What the page shows, to take away: a figure, the report, the trace itself.
import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { ask } from "../data/source";
import type { Trace } from "../data/trace";
import { offer } from "../state/commands";
import { view } from "../state/view";
import { CloseButton, Dialog } from "./dialog";
import { FORMATS, PRESETS, type Preset, WIDTHS, carriedOver, figureAddress, figureCommand, flagsOf, presetOf } from "./export_links";
import { Choice } from "./panel";

const isOpen = signal(false);

export function ExportButton({ trace }: { trace: Trace }) {
  useLayoutEffect(() => offer([{ id: "export", title: "Export: figure, report, trace", group: "Trace", keys: ["e"], run: () => (isOpen.value = true) }]), []);
  return (
    <>
      <button onClick={() => (isOpen.value = true)} title="Figure, report, trace (E)">
        Export
      </button>
      {isOpen.value && <ExportDialog trace={trace} />}
    </>
  );
}

type Preview = { state: "waiting" } | { state: "here"; address: string } | { state: "failed"; why: string };

/** The figure, asked for so that the server's own sentence can be shown when there is none. */
function usePreview(address: string): Preview {
  const [preview, setPreview] = useState<Preview>({ state: "waiting" });
  useEffect(() => {
    const stopping = new AbortController();
    let made: string | undefined;
    setPreview({ state: "waiting" });
    ask(address, { signal: stopping.signal })
      .then((response) => response.blob())
      .then(
        (blob) => {
          if (stopping.signal.aborted) return;
          made = URL.createObjectURL(blob);
          setPreview({ state: "here", address: made });
        },
        (error: unknown) => {
          if (!stopping.signal.aborted) setPreview({ state: "failed", why: error instanceof Error ? error.message : String(error) });
        },
      );
    return () => {
      stopping.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [address]);
  return preview;
}

function ExportDialog({ trace }: { trace: Trace }) {
  const { key, path } = trace.facts;
  const [preset, setPreset] = useState<Preset>(presetOf(view.value));
  const [width, setWidth] = useState<string>("5.5in");
  const flags = flagsOf(preset, view.value, width);
  const { shows, lost } = carriedOver(preset, view.value);
  const preview = usePreview(figureAddress(key, preset, "svg", flags));
  const title = lost.length > 0 ? "Export a figure" : "Export this view";
  return (
    <Dialog label={title} class="export" onClose={() => (isOpen.value = false)}>
      <header class="dialog-head">
        <h2>{title}</h2>
        <CloseButton />
      </header>
      <div class="export-body">
        <div class="export-choices">
          <label class="field">
            figure
            <select data-first value={preset} onChange={(event) => setPreset(event.currentTarget.value as Preset)}>
              {PRESETS.map(([name, title]) => (
                <option value={name}>{title}</option>
              ))}
            </select>
          </label>
          <Choice label="Width on paper" value={width} options={WIDTHS.map((width) => [width, width] as const)} onChoose={setWidth} />
        </div>
        <p class="export-says">
          Shows {shows}.{lost.length > 0 && ` Not carried over: ${lost.join(", ")}.`}
        </p>
        <div class="export-preview" aria-busy={preview.state === "waiting"} tabIndex={0} role="region" aria-label="Preview">
          {preview.state === "here" && <img src={preview.address} alt={`The figure: ${shows}`} />}
          {preview.state === "waiting" && <p class="waiting">drawing …</p>}
          {preview.state === "failed" && (
            <p class="failed" role="alert">
              {preview.why}
            </p>
          )}
        </div>
        <p class="export-formats">
          {FORMATS.map((format) => (
            <a class="button" href={figureAddress(key, preset, format, flags)} download>
              {format === "json" ? "spec" : format.toUpperCase()}
            </a>
          ))}
        </p>
        {path && !path.startsWith("bundled:") && <code class="command">{figureCommand(path, preset, flags)}</code>}
        <hr />
        <p class="export-formats">
          <a class="button" href={`/api/traces/${encodeURIComponent(key)}/report.html?layers=${view.value.layer}`} download>
            Report, one HTML file
          </a>
          <a class="button" href={`/api/traces/${encodeURIComponent(key)}/download.zip`} download>
            Trace, as a zip
          </a>
        </p>
      </div>
    </Dialog>
  );
}
