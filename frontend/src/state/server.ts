// Whether the server still answers, looked at now and then while the page is seen.
import { ask, serverThere } from "../data/source";

/** Milliseconds between two looks at a server that answers, and at one that does not. */
const CALM = 10_000;
const ANXIOUS = 2_000;

/** Asks whether there is a server; `serverThere` says what came of it. */
export async function lookForServer(): Promise<void> {
  // The smallest thing that it always has.
  await ask("/static/app.css", { method: "HEAD", cache: "no-store" }).catch(() => {});
}

/** Looks for the server until the returned function is called. */
export function watchServer(): () => void {
  let timer = 0;
  let isOver = false;
  const later = () => {
    timer = window.setTimeout(look, serverThere.peek() ? CALM : ANXIOUS);
  };
  const look = async () => {
    if (document.visibilityState === "visible") await lookForServer();
    if (!isOver) later();
  };
  later();
  return () => {
    isOver = true;
    clearTimeout(timer);
  };
}
