// Where the text is searched: what for, how much was found, and steps to the next and the one before.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { offer } from "../state/commands";
import { show, view } from "../state/view";
import { type TextSearch, searchInWords } from "./search_state";

interface SearchBarProps {
  search: TextSearch;
  /** Steps to another hit and brings it into sight. */
  onStep(by: -1 | 1): void;
  /** The reader is done with the field. */
  onLeave(): void;
}

export function SearchBar({ search, onStep, onLeave }: SearchBarProps) {
  const input = useRef<HTMLInputElement>(null);
  const typed = view.value.search;
  const [shown, setShown] = useState(typed);
  const [last, setLast] = useState(typed);
  if (typed !== last) {
    setLast(typed);
    setShown(typed);
  }
  useLayoutEffect(() => {
    const hasHits = () => search.found.peek().hits.count > 0;
    return offer([
      { id: "search-text", title: "Search the text", group: "Text", keys: ["/"], run: () => input.current?.select() },
      { id: "search-next", title: "Next place found", group: "Text", keys: ["n"], run: () => onStep(1), enabled: hasHits },
      { id: "search-previous", title: "Place found before", group: "Text", keys: ["Shift+n"], run: () => onStep(-1), enabled: hasHits },
    ]);
  }, [search]);
  const found = search.found.value;
  const says = searchInWords(found, search.at.value);
  const isWrong = found.state === "error" || found.state === "stopped";
  const none = found.hits.count === 0;
  return (
    <search class="search">
      <label class="field">
        <span class="sr">Search the text</span>
        <input
          ref={input}
          type="search"
          placeholder="search: text, /regex/"
          value={shown}
          spellcheck={false}
          aria-invalid={found.state === "error"}
          aria-describedby="search-says"
          title="Text (small letters also find capitals), /regular expression/flags, class:NAME, id:NUMBER, at:POSITION"
          onInput={(event) => {
            setShown(event.currentTarget.value);
            show({ search: event.currentTarget.value });
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter") onStep(event.shiftKey ? -1 : 1);
            else if (event.key === "Escape") {
              if (view.peek().search) show({ search: "" });
              else onLeave();
            } else return;
            event.preventDefault();
          }}
        />
      </label>
      <button class="icon" aria-label="Place found before" title="Before (Shift + N)" disabled={none} onClick={() => onStep(-1)}>
        ↑
      </button>
      <button class="icon" aria-label="Next place found" title="Next (N)" disabled={none} onClick={() => onStep(1)}>
        ↓
      </button>
      <output id="search-says" class={isWrong ? "failed" : "hint"} title={says}>
        {says}
      </output>
    </search>
  );
}
