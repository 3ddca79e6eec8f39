// What is selected in the prose, as tokens: the page holds only some of them, the copy has them all.
import type { Tokens } from "../data/model";

/** A place in the text: so many UTF-16 units into a token. */
export interface TextPlace {
  position: number;
  unit: number;
}

/** The exact text between two places. */
export function textBetween({ text }: Pick<Tokens, "text">, from: TextPlace, to: TextPlace): string {
  if (from.position === to.position) return text[from.position].slice(from.unit, to.unit);
  return text[from.position].slice(from.unit) + text.slice(from.position + 1, to.position).join("") + text[to.position].slice(0, to.unit);
}

/** Where a point of the page is in the text: inside a token, else at the start of the first token after it. */
function placeOf(root: HTMLElement, node: Node, offset: number, tokens: Tokens): TextPlace | undefined {
  const element = node instanceof Element ? node : node.parentElement;
  const span = element?.closest<HTMLElement>("[data-position]");
  const before = document.createRange();
  if (span && root.contains(span)) {
    before.setStart(span, 0);
    before.setEnd(node, offset);
    return { position: Number(span.dataset.position), unit: before.toString().length };
  }
  let last: HTMLElement | undefined;
  before.setStart(node, offset);
  before.collapse(true);
  for (const candidate of root.querySelectorAll<HTMLElement>("[data-position]")) {
    if (before.comparePoint(candidate, 0) >= 0) return { position: Number(candidate.dataset.position), unit: 0 };
    last = candidate;
  }
  const end = last && Number(last.dataset.position);
  return end === undefined ? undefined : { position: end, unit: tokens.text[end].length };
}

/** Ends of the selection inside the prose, in the text's order. */
export function selectedPlaces(root: HTMLElement, tokens: Tokens): [TextPlace, TextPlace] | undefined {
  const selection = getSelection();
  if (!selection || selection.isCollapsed || selection.rangeCount === 0) return undefined;
  const range = selection.getRangeAt(0);
  if (!range.intersectsNode(root)) return undefined;
  const from = placeOf(root, range.startContainer, range.startOffset, tokens);
  const to = placeOf(root, range.endContainer, range.endOffset, tokens);
  return from && to && [from, to];
}

/** Puts the selected text on the clipboard as it is in the trace. */
export function copyExactly(event: ClipboardEvent, root: HTMLElement, tokens: Tokens): void {
  const places = selectedPlaces(root, tokens);
  if (!places || !event.clipboardData) return;
  event.clipboardData.setData("text/plain", textBetween(tokens, ...places));
  event.preventDefault();
}
