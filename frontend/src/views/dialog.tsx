// A native dialog: it holds the focus while open and gives it back; Escape and a press outside close it.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

interface DialogProps {
  label: string;
  class?: string;
  onClose(): void;
  children: ComponentChildren;
}

/** Open as long as it is there. The focus goes to what is marked `data-first`, else to the first that takes it. */
export function Dialog({ label, class: name, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  // Before the next key arrives: what is typed right after the key that opens it belongs to the dialog.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    element?.querySelector<HTMLElement>("[data-first]")?.focus();
    // Closing is what gives the focus back, so it has to happen before the element goes.
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={`dialog ${name ?? ""}`}
      aria-label={label}
      onClose={onClose}
      // `close` comes a moment after closing; who opens it again meanwhile must find it closed.
      onCancel={onClose}
      onClick={(event) => event.target === event.currentTarget && event.currentTarget.close()}
      data-own-keys
    >
      <div class="dialog-body">{children}</div>
    </dialog>
  );
}

/** The button that closes the dialog it is in. */
export function CloseButton() {
  return (
    <button class="icon quiet close" aria-label="Close" onClick={(event) => event.currentTarget.closest("dialog")?.close()}>
      ✕
    </button>
  );
}
