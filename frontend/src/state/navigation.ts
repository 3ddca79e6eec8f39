// Moving through a trace by keyboard: heads, layers, screens, colours.
import { MAP_KINDS } from "../base/cells";
import { RAMPS } from "../base/colour";
import type { Trace } from "../data/trace";
import { type Command, offer } from "./commands";
import { seeNow } from "./now";
import { toggleTheme } from "./theme";
import { SCREENS, type Screen, clearHover, hover, show, view } from "./view";

/** The next of a list, round to its first. */
function after<T>(all: readonly T[], now: T): T {
  return all[(all.indexOf(now) + 1) % all.length];
}

/** Offers the commands that every screen of a trace has. */
export function offerNavigation(trace: Trace): () => void {
  const heads = trace.layers * trace.kvHeads;
  const move = (by: number) => {
    const { layer, head } = view.peek();
    const at = (layer * trace.kvHeads + head + by + heads) % heads;
    show({ layer: Math.floor(at / trace.kvHeads), head: at % trace.kvHeads });
  };
  const token = (by: number) => {
    const at = view.peek().token ?? (by > 0 ? -1 : trace.seen.peek());
    show({ token: Math.min(trace.seen.peek() - 1, Math.max(0, at + by)) });
  };
  const now = (by: number) => {
    const last = trace.seen.peek() - 1;
    const at = Math.min(last, Math.max(0, (view.peek().now ?? last) + by));
    show({ now: at === last ? null : at });
  };
  const go = (screen: Screen, key: string): Command => ({
    id: `screen-${screen}`,
    title: `Show the ${screen === "head" ? "head" : screen === "overview" ? "overview of all heads" : screen}`,
    group: "Go",
    keys: [key],
    run: () => show({ screen }),
  });
  const list: Command[] = [
    ...SCREENS.map((screen, index) => go(screen, String(index + 1))),
    { id: "traces", title: "List of traces", group: "Go", keys: [], run: () => location.assign("/"), enabled: () => trace.facts.source !== "report" },
    { id: "open-head", title: "Open the chosen head", group: "Go", keys: ["Enter"], run: () => show({ screen: "head" }), enabled: () => view.peek().screen === "overview" },
    { id: "head-left", title: "Head to the left", group: "Head", keys: ["ArrowLeft"], run: () => move(-1) },
    { id: "head-right", title: "Head to the right", group: "Head", keys: ["ArrowRight"], run: () => move(1) },
    { id: "head-up", title: "Same head, layer above", group: "Head", keys: ["ArrowUp", "["], run: () => move(-trace.kvHeads) },
    { id: "head-down", title: "Same head, layer below", group: "Head", keys: ["ArrowDown", "]"], run: () => move(trace.kvHeads) },
    { id: "token-next", title: "Pin the next token", group: "Text", keys: ["j"], run: () => token(1) },
    { id: "token-previous", title: "Pin the token before", group: "Text", keys: ["k"], run: () => token(-1) },
    { id: "follow", title: "Follow the pinned token, or stop following it", group: "Text", keys: ["p"], run: followPinned, enabled: () => view.peek().token !== null },
    { id: "step-back", title: "One step back in time", group: "Time", keys: [","], run: () => now(-1) },
    { id: "step-on", title: "One step on in time", group: "Time", keys: ["."], run: () => now(1) },
    { id: "to-end", title: "To the end of the run", group: "Time", keys: ["End"], run: () => {
      show({ now: null });
      seeNow();
    } },
    { id: "map", title: "Next view: retention, alive, half-life", group: "Look", keys: ["v"], run: () => show({ map: after(MAP_KINDS, view.peek().map) }) },
    { id: "form", title: "Triangle or lanes", group: "Head", keys: ["l"], run: () => show({ form: view.peek().form === "lanes" ? "triangle" : "lanes", screen: "head" }) },
    { id: "ramp", title: "Next colour map: viridis, cividis, grey", group: "Look", keys: ["c"], run: () => show({ ramp: after(RAMPS, view.peek().ramp) }) },
    { id: "theme", title: "Light or dark", group: "Look", keys: ["t"], run: toggleTheme },
    { id: "clear", title: "Unpin, and forget what is searched", group: "Go", keys: ["Escape"], run: clear },
  ];
  return offer(list);
}

function followPinned(): void {
  const { token, pins } = view.peek();
  if (token === null) return;
  show({ pins: pins.includes(token) ? pins.filter((pin) => pin !== token) : [...pins, token].slice(-8) });
}

function clear(): void {
  clearHover();
  if (hover.token.peek() === null) show({ token: null, search: "", find: "" });
}
