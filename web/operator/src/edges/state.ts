import { formatCount } from "@/shared/lib/format";
import type { Edge } from "../api/queries";

export interface EdgeState {
  label: string;
  tone: "good" | "warn" | "bad" | "neutral";
}

/** What an edge is at, in a word; what is worst first. */
export function stateOf({ reachable, draining, drained, cut_off, redis_away, ready }: Edge): EdgeState {
  if (!reachable) return { label: "Doesn't answer", tone: "bad" };
  if (draining) return { label: "About to end", tone: "warn" };
  if (drained) return { label: "Drained", tone: "warn" };
  if (cut_off) return { label: "Cut off from Redis", tone: "bad" };
  if (redis_away) return { label: "Redis is away", tone: "bad" };
  return ready ? { label: "Ready", tone: "good" } : { label: "Not ready", tone: "warn" };
}

/** A short time: 4 ms, 2.1 s, 3 min. */
export function formatLag(seconds: number): string {
  if (seconds < 1) return `${formatCount(Math.max(1, Math.round(seconds * 1000)))} ms`;
  return seconds < 60 ? `${formatCount(seconds)} s` : `${formatCount(Math.round(seconds / 60))} min`;
}

/** For how long what is next has waited, and what else waits, in words. */
export function lagOf({ reachable, redis_away = false, lag_seconds = 0, hubs_behind = 0, entries_waiting = 0 }: Edge): string {
  // Without Redis it hears of nothing that it could be behind of.
  if (!reachable || redis_away) return "unknown";
  const parts: string[] = [];
  if (lag_seconds > 0) parts.push(formatLag(lag_seconds));
  if (entries_waiting > 0) parts.push(`${formatCount(entries_waiting)} ${entries_waiting === 1 ? "entry waits" : "entries wait"}`);
  if (hubs_behind > 0) parts.push(`${formatCount(hubs_behind)} ${hubs_behind === 1 ? "hub" : "hubs"} behind`);
  return parts.join(", ") || "none";
}

/** The first characters of a revision, which are enough to know it by. */
export const shortRevision = (revision: string): string => revision.slice(0, 8);
