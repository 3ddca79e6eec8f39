// What is around every page: the command palette, the overlay of keys, short messages, and the buttons that open them.
import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect } from "preact/hooks";
import type { Trace } from "../data/trace";
import { offer } from "../state/commands";
import { watchServer } from "../state/server";
import { theme, toggleTheme } from "../state/theme";
import { KeysOverlay } from "./keys_overlay";
import { Palette } from "./palette";
import { Toasts } from "./toast";

const open = signal<"palette" | "keys" | null>(null);

/** Must be once on a page. */
export function Shell({ trace, hasServer }: { trace?: Trace | undefined; hasServer: boolean }) {
  useLayoutEffect(
    () =>
      offer([
        { id: "palette", title: "Find a command, a head or a trace", group: "Go", keys: ["Ctrl+k"], run: () => (open.value = "palette") },
        { id: "keys", title: "Show all keys", group: "Go", keys: ["?"], run: () => (open.value = "keys") },
      ]),
    [],
  );
  useEffect(() => (hasServer ? watchServer() : undefined), [hasServer]);
  // The next may be open already when the event that closed the last one arrives.
  const closing = (which: "palette" | "keys") => () => {
    if (open.peek() === which) open.value = null;
  };
  return (
    <>
      {open.value === "palette" && <Palette trace={trace} hasServer={hasServer} onClose={closing("palette")} />}
      {open.value === "keys" && <KeysOverlay onClose={closing("keys")} />}
      <Toasts />
    </>
  );
}

export function ThemeButton() {
  const isDark = theme.value === "dark";
  return (
    <button class="icon theme" aria-label={isDark ? "Light page" : "Dark page"} title="Light or dark (T)" onClick={toggleTheme}>
      {isDark ? "☀" : "☾"}
    </button>
  );
}

export function ShellButtons() {
  return (
    <>
      <button class="icon" aria-label="Find a command, a head or a trace" title="Find (Ctrl+K)" onClick={() => (open.value = "palette")}>
        <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true">
          <circle cx="6.5" cy="6.5" r="4.5" fill="none" stroke="currentColor" stroke-width="1.6" />
          <path d="M10 10l4.5 4.5" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />
        </svg>
      </button>
      <button class="icon" aria-label="Keys" title="Keys (?)" onClick={() => (open.value = "keys")}>
        ?
      </button>
    </>
  );
}
