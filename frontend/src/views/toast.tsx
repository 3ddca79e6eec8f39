// Short messages at the foot of the page, some with a way to undo what they tell.
import { signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { offer } from "../state/commands";

interface Toast {
  id: number;
  text: string;
  tone: "plain" | "alert";
  /** What its button says and does. */
  action?: { title: string; run(): void };
}

/** Milliseconds that a message stays, unless the pointer or the focus is on it. */
const STAYS = 8000;

const toasts = signal<readonly Toast[]>([]);
let last = 0;

/** Shows a message. One that tells of a failure stays until it is dismissed. */
export function tell(text: string, more: { tone?: Toast["tone"]; action?: Toast["action"] } = {}): void {
  last += 1;
  toasts.value = [...toasts.value.slice(-3), { id: last, text, tone: more.tone ?? "plain", action: more.action }];
}

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <ToastLine key={toast.id} toast={toast} />
      ))}
    </div>
  );
}

function ToastLine({ toast }: { toast: Toast }) {
  const { id, text, tone, action } = toast;
  const timer = useRef(0);
  const start = () => {
    clearTimeout(timer.current);
    if (tone === "plain") timer.current = window.setTimeout(() => dismiss(id), STAYS);
  };
  const stop = () => clearTimeout(timer.current);
  const act = () => {
    dismiss(id);
    action?.run();
  };
  useEffect(() => {
    start();
    return stop;
  }, [id]);
  useLayoutEffect(() => {
    if (!action) return;
    return offer([{ id: `toast-${id}`, title: action.title, group: "Go", keys: ["Ctrl+z"], run: act }]);
  }, [id]);
  return (
    <div class="toast" data-tone={tone} onPointerEnter={stop} onPointerLeave={start} onFocusIn={stop} onFocusOut={start}>
      <span>{text}</span>
      {action && (
        <button class="link" onClick={act}>
          {action.title}
        </button>
      )}
      <button class="icon quiet close" aria-label="Dismiss" onClick={() => dismiss(id)}>
        ✕
      </button>
    </div>
  );
}
