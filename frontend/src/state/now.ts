// Asking the text to bring "now" into sight again, whoever scrolled it away.
import { signal } from "@preact/signals";

/** How often it was asked for. */
export const askedForNow = signal(0);

export function seeNow(): void {
  askedForNow.value += 1;
}
