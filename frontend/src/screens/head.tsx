import type { Trace } from "../data/trace";
export function HeadScreen(_: { trace: Trace }) {
  return null;
}
