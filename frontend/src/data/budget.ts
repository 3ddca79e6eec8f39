// Whether a policy limits the cache, and by how much. A full cache's manifest may say 0.
import { count } from "../base/format";
import type { Manifest } from "./model";

export interface Budget {
  /** Entries that a cut leaves. */
  budget: number;
  /** Entries above it that may gather between cuts. */
  buffer: number;
  /** Both together. */
  limit: number;
  /** What the budget is for: a head, or a head on average. */
  isOnAverage: boolean;
}

/** Undefined where nothing is ever evicted for want of room. */
export function budgetOf(policy: Manifest["policy"]): Budget | undefined {
  if (!policy || policy.name === "full" || typeof policy.budget !== "number" || policy.budget <= 0) return undefined;
  const { budget, buffer = 0, scope } = policy;
  return { budget, buffer, limit: budget + buffer, isOnAverage: scope === "layer" || scope === "global" };
}

/** The policy in a few words. */
export function policyWords(policy: Manifest["policy"]): string {
  if (!policy) return "not told";
  if (policy.name === "full") return "full cache, nothing is evicted";
  const limits = budgetOf(policy);
  if (!limits) return `${policy.name}, no budget`;
  return `${policy.name}, budget ${count(limits.budget)} + buffer ${count(limits.buffer)} per ${policy.scope ?? "head"}`;
}
