// How a token looks under each colouring. A word says its state, a share sets the length and colour of the bar under it:
// neither is said by colour alone, and neither changes the width of the text.
import { STILL_CACHED, halfLifeShare } from "../base/cells";
import type { ProseColour } from "../state/view";

/** States of a token in prose; each is a class of the style. */
export type InkState = "kept" | "left" | "unborn" | "unread" | "plain" | "unknown";

export interface Ink {
  state: InkState;
  /** In [0, 1]; absent: no bar. */
  share?: number | undefined;
}

/** What is known of one token in the chosen head, and of all heads together. */
export interface Known {
  position: number;
  /** Query position that "now" means. */
  now: number;
  /** Tokens the model has read; later ones were drawn but never fed. */
  seen: number;
  /** Absent while the layer is on its way. */
  evictedAt?: number | undefined;
  logBeta?: number | undefined;
  /** End of the half-life axis. */
  longest: number;
  /** Heads that keep it at `now`, of `counted`. */
  keepers?: number | undefined;
  counted?: number | undefined;
}

export function inkOf(colour: ProseColour, known: Known): Ink {
  const { position, now, seen, evictedAt, logBeta } = known;
  if (position >= seen) return { state: "unread" };
  if (colour === "half-life") {
    if (logBeta === undefined) return { state: "plain" };
    return Number.isNaN(logBeta) ? { state: "unknown" } : { state: "plain", share: halfLifeShare(logBeta, known.longest) };
  }
  if (colour === "evicted-at") {
    if (evictedAt === undefined) return { state: "plain" };
    return evictedAt === STILL_CACHED ? { state: "kept", share: 1 } : { state: "plain", share: Math.min(1, evictedAt / Math.max(1, seen)) };
  }
  if (position > now) return { state: "unborn" };
  if (colour === "keepers") {
    const { keepers, counted } = known;
    if (keepers === undefined || !counted) return { state: "plain" };
    return keepers === 0 ? { state: "left" } : { state: keepers === counted ? "kept" : "plain", share: keepers / counted };
  }
  if (evictedAt === undefined) return { state: "plain" };
  return { state: now < evictedAt ? "kept" : "left" };
}

/** Steps of a bar; so few that equal tokens share a style. */
export const BAR_STEPS = 32;

/** The step of a share. */
export function barStep(share: number): number {
  return Math.round(Math.min(1, Math.max(0, share)) * BAR_STEPS);
}
