// Viewing a trace that lies on this machine: dropped on the page, chosen as a folder, or named by its path.
import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { bytes, percent } from "../base/format";
import { type Found, filesOfDrop, filesOfInput, named, tracesAmong } from "../data/dropped";
import { openPath, pageOf, sendDropped } from "../data/listing";
import { CloseButton, Dialog } from "./dialog";
import { tell } from "./toast";

/** What is being sent. */
const sending = signal<{ title: string; size: number; share: number; stop: () => void } | null>(null);

const wordsOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** Sends every trace among the files; goes to it when it is the only one. */
async function view(find: () => Promise<Found[]> | Found[], onAdded: () => void): Promise<void> {
  if (sending.peek()) return tell("One trace at a time: another is still being sent.", { tone: "alert" });
  try {
    const traces = await Promise.all(tracesAmong(await find()).map(named));
    const keys: string[] = [];
    for (const dropped of traces) {
      const stopping = new AbortController();
      const at = { title: dropped.title, size: dropped.bytes, stop: () => stopping.abort() };
      sending.value = { ...at, share: 0 };
      keys.push(await sendDropped(dropped, (share) => (sending.value = { ...at, share }), stopping.signal));
    }
    if (keys.length === 1) location.assign(pageOf(keys[0]));
    else tell(`${keys.length} traces are added to the list until the server ends.`);
  } catch (error) {
    tell(`Cannot view it: ${wordsOf(error)}`, { tone: "alert" });
  } finally {
    sending.value = null;
    onAdded();
  }
}

/** Makes the whole page a place to drop a trace on. */
export function DropAnywhere({ onAdded }: { onAdded(): void }) {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    // Entering a child comes before leaving its parent, so enters and leaves are counted.
    let depth = 0;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const enter = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth += 1;
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      depth = Math.max(0, depth - 1);
      if (depth === 0) setOver(false);
    };
    const over = (event: DragEvent) => {
      if (hasFiles(event)) event.preventDefault();
    };
    const drop = (event: DragEvent) => {
      depth = 0;
      setOver(false);
      const transfer = event.dataTransfer;
      if (!transfer || !hasFiles(event)) return;
      event.preventDefault();
      // The entries are gone once this handler has returned.
      const files = filesOfDrop(transfer);
      void view(() => files, onAdded);
    };
    const all = [["dragenter", enter], ["dragleave", leave], ["dragover", over], ["drop", drop]] as const;
    for (const [name, listener] of all) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of all) removeEventListener(name, listener);
    };
  }, []);
  const now = sending.value;
  if (now) {
    return (
      <div class="sending" role="status">
        <p>
          Sending {now.title}, {bytes(now.size)}: {now.share < 1 ? percent(now.share) : "reading it"}
        </p>
        <progress max={1} value={now.share} aria-label={`Sent of ${now.title}`} />
        <button onClick={now.stop}>Cancel</button>
      </div>
    );
  }
  return isOver ? (
    <div class="drop-cover">
      <p>Drop a trace’s folder to view it</p>
    </div>
  ) : null;
}

/** Chooses a folder of this machine, for those who do not drag. */
export function ChooseFolder({ onAdded }: { onAdded(): void }) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (input.current) input.current.webkitdirectory = true;
  }, []);
  const chosen = () => {
    const element = input.current;
    if (!element) return;
    const files = filesOfInput(element);
    // So that the same folder can be chosen again.
    element.value = "";
    if (files.length > 0) void view(() => files, onAdded);
  };
  return (
    <>
      <input ref={input} type="file" multiple hidden aria-label="A trace’s folder" onChange={chosen} />
      <button title="You can also drop a folder anywhere on this page" onClick={() => input.current?.click()}>
        View a folder…
      </button>
    </>
  );
}

export function OpenByPath({ onClose }: { onClose(): void }) {
  const [path, setPath] = useState("");
  const [why, setWhy] = useState<string>();
  const [isAsking, setAsking] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    setAsking(true);
    try {
      location.assign(pageOf(await openPath(path.trim())));
    } catch (error) {
      setWhy(wordsOf(error));
      setAsking(false);
    }
  };
  return (
    <Dialog label="Open a trace by its path" class="open-path" onClose={onClose}>
      <header class="dialog-head">
        <h2>Open a trace by its path</h2>
        <CloseButton />
      </header>
      <form onSubmit={submit}>
        <label for="open-path">Directory on the machine where the server runs</label>
        <input
          id="open-path"
          type="text"
          placeholder="traces/sums-20261124-183447"
          autocomplete="off"
          spellcheck={false}
          data-first
          value={path}
          aria-invalid={why !== undefined}
          aria-describedby="open-path-says"
          onInput={(event) => {
            setPath(event.currentTarget.value);
            setWhy(undefined);
          }}
        />
        <p id="open-path-says" class={why ? "wrong" : "hint"} role={why ? "alert" : undefined}>
          {why ?? "It is read where it is; nothing is copied."}
        </p>
        <div class="dialog-foot">
          <button type="submit" class="main" disabled={path.trim() === "" || isAsking}>
            Open
          </button>
        </div>
      </form>
    </Dialog>
  );
}
