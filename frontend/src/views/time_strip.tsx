import type { Trace } from "../data/trace";
export function TimeStrip(_: { trace: Trace }) {
  return null;
}
