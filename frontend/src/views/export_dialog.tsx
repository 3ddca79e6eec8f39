// What the page shows, to take away: a figure, the report, the trace itself.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import type { Trace } from "../data/trace";
import { offer } from "../state/commands";
import { view } from "../state/view";
import { CloseButton, Dialog } from "./dialog";
import { FORMATS, PRESETS, type Preset, WIDTHS, figureAddress, figureCommand, flagsOf, presetOf } from "./export_links";
import { Choice } from "./panel";

const isOpen = signal(false);

export function ExportButton({ trace }: { trace: Trace }) {
  useEffect(() => offer([{ id: "export", title: "Export this view: figure, report, trace", group: "Trace", keys: ["e"], run: () => (isOpen.value = true) }]), []);
  return (
    <>
      <button onClick={() => (isOpen.value = true)} title="Figure, report, trace (E)">
        Export
      </button>
      {isOpen.value && <ExportDialog trace={trace} />}
    </>
  );
}

function ExportDialog({ trace }: { trace: Trace }) {
  const { key, path } = trace.facts;
  const [preset, setPreset] = useState<Preset>(presetOf(view.value));
  const [width, setWidth] = useState<string>("5.5in");
  const flags = flagsOf(preset, view.value, width);
  const [shown, setShown] = useState<"waiting" | "here" | "failed">("waiting");
  const preview = figureAddress(key, preset, "svg", flags);
  useEffect(() => setShown("waiting"), [preview]);
  return (
    <Dialog label="Export this view" class="export" onClose={() => (isOpen.value = false)}>
      <header class="dialog-head">
        <h2>Export this view</h2>
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
        <div class="export-preview" aria-busy={shown === "waiting"}>
          <img src={preview} alt="The figure as it will be" onLoad={() => setShown("here")} onError={() => setShown("failed")} hidden={shown === "failed"} />
          {shown === "waiting" && <p class="hint">drawing …</p>}
          {shown === "failed" && <p class="failed">This figure cannot be made of what is chosen; the PDF link says why.</p>}
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
