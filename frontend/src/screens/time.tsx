import type { Trace } from "../data/trace";
export function TimeScreen(_: { trace: Trace }) {
  return null;
}
