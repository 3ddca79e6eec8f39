import type { Trace } from "../data/trace";
export function TextScreen(_: { trace: Trace }) {
  return null;
}
