// What the list says when there is nothing in it.
import type { ComponentChildren } from "preact";

/** How the first trace is made; `actions` do the same by hand. */
export function FirstTrace({ actions }: { actions?: ComponentChildren }) {
  return (
    <div class="first">
      <p>
        None yet. Trace a prompt and watch it live: <code>trimkv-trace prompt.txt --open</code>
      </p>
      {actions && <div class="tools">{actions}</div>}
    </div>
  );
}

export function NothingMatches({ typed, onClear }: { typed: string; onClear(): void }) {
  return (
    <div class="first" role="status">
      <p>No trace holds “{typed}”.</p>
      <button onClick={onClear}>Show all</button>
    </div>
  );
}
