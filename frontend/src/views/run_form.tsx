// A new run from the page: a dialog with what a run can be given.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import example from "../../../prompts/codes.txt";
import { ask } from "../data/source";
import { offer } from "../state/commands";
import { Failed, Waiting } from "./panel";
import { type RunErrors, type RunFields, type RunOptions, firstFields, hasBudget, readRun } from "./run_request";

const isOpen = signal(false);

/** Opens the dialog of whichever `<RunForm>` the page has. */
export function newRun(): void {
  isOpen.value = true;
}

export function NewRunButton() {
  return <button class="new-run" onClick={newRun}>New run</button>;
}

type Answer = { state: "waiting" } | { state: "here"; options: RunOptions } | { state: "failed"; why: string };

/** The dialog, closed until `newRun`. A page has one. */
export function RunForm() {
  const box = useRef<HTMLDialogElement>(null);
  const [answer, setAnswer] = useState<Answer>({ state: "waiting" });
  useLayoutEffect(() => offer([{ id: "new-run", title: "Start a new run", group: "Trace", keys: [], run: newRun }]), []);
  const open = isOpen.value;
  useEffect(() => {
    if (!open) return box.current?.close();
    box.current?.showModal();
    // Asked for each time: what a server can run may have changed.
    setAnswer({ state: "waiting" });
    ask("/api/runs")
      .then((response) => response.json())
      .then((options: RunOptions) => setAnswer({ state: "here", options }))
      .catch((error: unknown) => setAnswer({ state: "failed", why: error instanceof Error ? error.message : String(error) }));
  }, [open]);
  return (
    <dialog class="run-form" data-own-keys ref={box} aria-labelledby="run-form-title" onClose={() => (isOpen.value = false)}>
      <header>
        <h2 id="run-form-title">New run</h2>
        <button class="icon quiet" aria-label="Close" onClick={() => box.current?.close()}>
          ✕
        </button>
      </header>
      {open && answer.state === "waiting" && <Waiting what="what this server can run" />}
      {open && answer.state === "failed" && <Failed why={answer.why} />}
      {open && answer.state === "here" && !answer.options.available && (
        <p class="run-unavailable">{sentence(answer.options.reason ?? "this server cannot run a model")}</p>
      )}
      {open && answer.state === "here" && answer.options.available && <Fields options={answer.options} onCancel={() => box.current?.close()} />}
    </dialog>
  );
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

function Fields({ options, onCancel }: { options: RunOptions; onCancel: () => void }) {
  const [fields, setFields] = useState<RunFields>(() => firstFields(options));
  const [errors, setErrors] = useState<RunErrors>({});
  const [refused, setRefused] = useState<string | undefined>();
  const [isStarting, setStarting] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const set = (change: Partial<RunFields>) => {
    setFields({ ...fields, ...change });
    setErrors(Object.fromEntries(Object.entries(errors).filter(([name]) => !(name in change))));
  };
  const typed = (name: keyof RunFields) => ({
    value: fields[name],
    "aria-invalid": errors[name] !== undefined,
    "aria-describedby": `run-${name}-says`,
    onInput: (event: Event) => set({ [name]: (event.currentTarget as HTMLInputElement).value }),
  });
  const start = async (event: Event) => {
    event.preventDefault();
    if (isStarting) return;
    const read = readRun(fields);
    if ("errors" in read) {
      setErrors(read.errors);
      // The first field that is wrong, once it is marked.
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
      return;
    }
    setStarting(true);
    setRefused(undefined);
    try {
      const init = { method: "POST", body: JSON.stringify(read.request), headers: { "content-type": "application/json" } };
      const { key } = (await (await ask("/api/runs", init)).json()) as { key: string };
      location.assign(`/t/${encodeURIComponent(key)}`);
    } catch (error) {
      setStarting(false);
      setRefused(error instanceof Error ? error.message : String(error));
    }
  };
  const isBounded = hasBudget(fields.policy);
  return (
    <form ref={form} noValidate onSubmit={start}>
      <Field name="prompt" title="Prompt" error={errors.prompt} wide>
        <textarea id="run-prompt" rows={6} spellcheck={false} autofocus {...typed("prompt")} />
      </Field>
      <p class="hint run-example">
        The built-in model is right only about stories of its own small world; of other texts it makes a trace, and little sense.{" "}
        <button type="button" class="quiet" onClick={() => set({ prompt: example })}>
          Use an example
        </button>
      </p>
      <Field name="model" title="Model">
        <select
          id="run-model"
          value={fields.model}
          onChange={(event) => {
            const model = options.models.find(({ name }) => name === event.currentTarget.value);
            if (model) set({ model: model.name, budget: String(model.budget), buffer: String(model.buffer) });
          }}
        >
          {options.models.map(({ name, title }) => (
            <option value={name}>{title}</option>
          ))}
        </select>
      </Field>
      <Field name="policy" title="Policy">
        <select id="run-policy" value={fields.policy} onChange={(event) => set({ policy: event.currentTarget.value })}>
          {options.policies.map(({ name, title, needs_gates }) => (
            <option value={name}>
              {title}
              {needs_gates ? " (needs gates)" : ""}
            </option>
          ))}
        </select>
      </Field>
      <Field name="budget" title="Budget" error={errors.budget} hint="entries a head keeps">
        <input id="run-budget" inputMode="numeric" disabled={!isBounded} {...typed("budget")} />
      </Field>
      <Field name="buffer" title="Buffer" error={errors.buffer} hint="overrun before a cut">
        <input id="run-buffer" inputMode="numeric" disabled={!isBounded} {...typed("buffer")} />
      </Field>
      <Field name="tokens" title="Tokens to write" error={errors.tokens} hint="at most">
        <input id="run-tokens" inputMode="numeric" {...typed("tokens")} />
      </Field>
      <Field name="seed" title="Seed" error={errors.seed}>
        <input id="run-seed" inputMode="numeric" {...typed("seed")} />
      </Field>
      <Field name="draw" title="Next token">
        <select id="run-draw" value={fields.draw} onChange={(event) => set({ draw: event.currentTarget.value as RunFields["draw"] })}>
          <option value="greedy">the likeliest (greedy)</option>
          <option value="sample">drawn at random</option>
        </select>
      </Field>
      <div class="run-pair">
        <Field name="temperature" title="Temperature" error={errors.temperature}>
          <input id="run-temperature" inputMode="decimal" disabled={fields.draw === "greedy"} {...typed("temperature")} />
        </Field>
        <Field name="topP" title="Top-p" error={errors.topP}>
          <input id="run-topP" inputMode="decimal" disabled={fields.draw === "greedy"} {...typed("topP")} />
        </Field>
      </div>
      <footer>
        <p class="hint">Runs on {options.device}; it is recorded as a trace and shown while it goes.</p>
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
        <button class="primary" type="submit" aria-disabled={isStarting}>
          {isStarting ? "Starting" : "Start"}
        </button>
      </footer>
      {refused && (
        <p class="failed run-refused" role="alert">
          {sentence(refused)}
        </p>
      )}
    </form>
  );
}

function Field(props: { name: keyof RunFields; title: string; error?: string | undefined; hint?: string; wide?: boolean; children: ComponentChildren }) {
  const { name, title, error, hint, wide, children } = props;
  return (
    <div class={wide ? "run-field wide" : "run-field"}>
      <label for={`run-${name}`}>{title}</label>
      {children}
      <span id={`run-${name}-says`} class={error ? "says wrong" : "says"} role={error ? "alert" : undefined}>
        {error ?? hint}
      </span>
    </div>
  );
}
