// Everything that can be done by keyboard: one list, read by the key handler, the palette and the overlay of keys.
import { signal } from "@preact/signals";

export interface Command {
  id: string;
  /** What it does, as a menu would say it. */
  title: string;
  group: "Go" | "Head" | "Zoom" | "Time" | "Text" | "Trace" | "Look";
  /** As `KeyboardEvent.key` names them; with "Ctrl+" where it is held (or Command), "Shift+" before a letter. */
  keys: readonly string[];
  run(): void;
  /** Whether it makes sense now. */
  enabled?: () => boolean;
}

/** What can be done now. */
export const commands = signal<readonly Command[]>([]);

/** Adds commands until the returned function is called. */
export function offer(more: readonly Command[]): () => void {
  commands.value = [...commands.value, ...more];
  return () => {
    commands.value = commands.value.filter((command) => !more.includes(command));
  };
}

/** Shift is named with letters only: with other keys it has already made another key. */
function nameOf(event: KeyboardEvent): string {
  const held = event.ctrlKey || event.metaKey ? "Ctrl+" : event.shiftKey && /^[a-z]$/i.test(event.key) ? "Shift+" : "";
  return held + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
}

/** Whether keys are being typed into something. */
function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

/** Arrow keys belong to these while they have the focus. */
function ownsArrows(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("[data-arrows], [role=slider], [role=listbox], [role=menu]") !== null;
}

/** A dialog that needs no commands keeps all keys to itself while it is open, Escape too. */
function areKeysTaken(): boolean {
  return document.querySelector("dialog[data-own-keys][open]") !== null;
}

function onKey(event: KeyboardEvent): void {
  if (event.altKey || event.defaultPrevented || areKeysTaken()) return;
  const name = nameOf(event);
  if (isTyping(event.target) && !name.startsWith("Ctrl+")) return;
  if (name.startsWith("Arrow") && ownsArrows(event.target)) return;
  // The newest offer wins: a dialog's keys come before the page's.
  const command = [...commands.peek()].reverse().find(({ keys, enabled }) => keys.includes(name) && (enabled?.() ?? true));
  if (!command) return;
  event.preventDefault();
  command.run();
}

/** Listens for keys until the returned function is called. */
export function listenForKeys(): () => void {
  addEventListener("keydown", onKey);
  return () => removeEventListener("keydown", onKey);
}

/** A key as it is printed. */
export function printedKey(key: string): string {
  const names: Record<string, string> = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", " ": "Space" };
  return key.split("+").map((part) => names[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" + ");
}
