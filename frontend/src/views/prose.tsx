// The whole run as text: what is written is exactly what was read and drawn, how it is written says what was kept.
import { effect } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { longestHalfLife } from "../base/cells";
import { cssRgb, rampAt } from "../base/colour";
import { keepersOf } from "../data/keepers_reader";
import { isRunning } from "../data/live";
import type { Tokens } from "../data/model";
import { here, type Trace } from "../data/trace";
import { askedForNow } from "../state/now";
import { ramp } from "../state/theme";
import { hover, show, view } from "../state/view";
import { copyExactly } from "./prose_copy";
import { BAR_STEPS, inkOf } from "./prose_ink";
import { type Look, ProseView } from "./prose_view";
import type { TextSearch } from "./search_state";

interface ProseProps {
  trace: Trace;
  /** As they were at first; a run in progress adds to the trace's. */
  tokens: Tokens;
  search: TextSearch;
  isMono: boolean;
  /** Gives the text to whoever moves it. */
  onReady(prose: ProseView | undefined): void;
}

export function Prose({ trace, tokens, search, isMono, onReady }: ProseProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const space = useRef<HTMLDivElement>(null);
  const prose = useRef<ProseView>(undefined);
  const [shown, setShown] = useState<ProseView | undefined>();
  useEffect(() => {
    if (!scroller.current || !space.current) return;
    const made = new ProseView(scroller.current, space.current, tokens, trace.facts.text_known, lookOf(trace, search));
    prose.current = made;
    setShown(made);
    onReady(made);
    const { token } = view.peek();
    if (token !== null && token < tokens.count) {
      made.rove(token);
      made.reveal(token);
    }
    let pinned = token;
    // A finished run is read from its start until "now" is somewhere; then at its end, too.
    let wasSomewhere = false;
    let asked = askedForNow.peek();
    const unwatch = [
      effect(() => {
        const { now } = view.value;
        const isAsked = askedForNow.value > asked;
        asked = askedForNow.value;
        wasSomewhere ||= now !== null || isAsked || isRunning(trace);
        made.setNow(now ?? (wasSomewhere ? "end" : undefined));
        if (isAsked) made.follow();
      }),
      effect(() => made.wear(lookOf(trace, search))),
      effect(() => made.mark("hovered", hover.token.value)),
      effect(() => {
        const { token } = view.value;
        if (token === pinned && token === null) return;
        made.mark("pinned", token);
        if (token !== null && token !== pinned && token < tokens.count) made.reveal(token);
        pinned = token;
      }),
      effect(() => {
        const now = here(trace.tokens) ?? tokens;
        if (trace.version.value > 0 || now !== tokens) made.grow(now);
      }),
    ];
    made.mark("pinned", token);
    const selected = () => made.holdSelection();
    document.addEventListener("selectionchange", selected);
    return () => {
      document.removeEventListener("selectionchange", selected);
      for (const stop of unwatch) stop();
      made.dispose();
      prose.current = undefined;
      setShown(undefined);
      onReady(undefined);
    };
  }, [trace, search]);
  const wasMono = useRef(isMono);
  useEffect(() => {
    if (isMono === wasMono.current) return;
    wasMono.current = isMono;
    prose.current?.keepPlace(() => space.current?.classList.toggle("mono", isMono));
  }, [isMono]);
  const isAway = shown !== undefined && !shown.isFollowing.value && (view.value.now !== null || isRunning(trace));
  return (
    <div class="prose-frame">
      <div
        ref={scroller}
        class="prose"
        data-arrows
        role="region"
        aria-label="Text of the run. Arrow keys go from token to token, Enter pins one."
        onPointerOver={(event) => (hover.token.value = positionOf(event.target))}
        onPointerLeave={() => (hover.token.value = null)}
        onFocusIn={(event) => {
          const position = positionOf(event.target);
          if (position !== null) hover.token.value = position;
        }}
        onWheel={() => prose.current?.letGo()}
        onTouchMove={() => prose.current?.letGo()}
        onPointerDown={(event) => {
          // On the scroller itself: its bar, or the room beside the text.
          if (event.target === scroller.current) prose.current?.letGo();
        }}
        onClick={(event) => {
          const position = positionOf(event.target);
          if (position === null || getSelection()?.isCollapsed === false) return;
          prose.current?.focusInPlace(position);
          pin(position);
        }}
        onKeyDown={(event) => prose.current && onKey(event, prose.current, here(trace.tokens) ?? tokens)}
        onCopy={(event) => scroller.current && copyExactly(event, scroller.current, here(trace.tokens) ?? tokens)}
      >
        <div ref={space} class={`prose-space ${wasMono.current ? "mono" : ""}`} />
      </div>
      {isAway && (
        <button class="follow" title="Brings now into sight and keeps it there (End goes to the end)" onClick={() => prose.current?.follow()}>
          follow {view.value.now === null ? "the run" : "now"}
        </button>
      )}
    </div>
  );
}

function positionOf(target: EventTarget | null): number | null {
  const token = target instanceof Element ? target.closest<HTMLElement>("[data-position]") : null;
  return token ? Number(token.dataset.position) : null;
}

/** Pins a token; lets go of one that is pinned. */
function pin(position: number): void {
  show({ token: view.peek().token === position ? null : position });
}

function onKey(event: KeyboardEvent, prose: ProseView, tokens: Tokens): void {
  // With Shift the browser selects.
  if (event.altKey || event.shiftKey) return;
  const isHeld = event.ctrlKey || event.metaKey;
  if (isHeld && event.key === "a") {
    prose.selectAll();
    return event.preventDefault();
  }
  const at = prose.rovingToken;
  const last = tokens.count - 1;
  if (["PageUp", "PageDown", "Home"].includes(event.key) && !isHeld) prose.letGo();
  let to: number | undefined;
  if (event.key === "ArrowRight") to = at + 1;
  else if (event.key === "ArrowLeft") to = at - 1;
  else if (event.key === "ArrowDown") to = prose.vertical(at, 1) ?? last;
  else if (event.key === "ArrowUp") to = prose.vertical(at, -1) ?? 0;
  else if (event.key === "Home" && isHeld) to = 0;
  else if (event.key === "End" && isHeld) to = last;
  else if (event.key === "Enter" || event.key === " ") pin(at);
  else return;
  event.preventDefault();
  if (to !== undefined && to >= 0 && to <= last) prose.focus(to);
}

/** What tokens look like now. Read inside an effect, it follows all that it depends on. */
function lookOf(trace: Trace, search: TextSearch): Look {
  const { prose, layer, head } = view.value;
  void trace.version.value;
  const seen = trace.seen.value;
  const now = Math.min(view.value.now ?? seen - 1, seen - 1);
  const columns = prose === "keepers" ? undefined : here(trace.layer(layer));
  const known = prose === "keepers" ? keepersOf(trace, true).value : undefined;
  const longest = longestHalfLife(seen);
  const table = ramp.value;
  const { hits } = search.found.value;
  const current = search.at.value;
  return {
    bars: Array.from({ length: BAR_STEPS + 1 }, (_, step) => cssRgb(rampAt(table, step / BAR_STEPS))),
    inkOf: (position) => {
      const at = columns && position < columns.seen ? columns.at(head, position) : undefined;
      return inkOf(prose, {
        position, now, seen, longest,
        evictedAt: at === undefined ? undefined : columns?.evictedAt[at],
        logBeta: at === undefined ? undefined : columns?.logBeta[at],
        keepers: known?.keepers.count(position, now),
        counted: known && known.counted * trace.kvHeads,
      });
    },
    hitAt: (position) => {
      const hit = hits.count > 0 ? hits.holding(position) : undefined;
      return hit === undefined ? undefined : hit === current ? "current" : "";
    },
    now: prose === "alive" || prose === "keepers" ? (now < seen - 1 ? now : null) : null,
  };
}
