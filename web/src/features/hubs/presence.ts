/** Somebody who is present in a group. */
export interface Member {
  connectionId: string;
  userId?: string;
  state?: unknown;
}

/** What a hub tells of a group to those who watch it. */
export interface PresenceChange {
  joins: readonly Member[];
  updates: readonly Member[];
  leaves: readonly Member[];
  /** What was missed can't be known: watch anew. */
  reset: boolean;
}

/** A group as this page watches it. */
export interface PresenceState {
  phase: "off" | "connecting" | "live" | "reconnecting" | "failed";
  /** Why it failed, for people. */
  reason?: string | undefined;
  /** By connection id. */
  members: ReadonlyMap<string, Member>;
}

/** What happens to the page's view of a group. */
export type PresenceEvent =
  | { type: "start" }
  | { type: "snapshot"; members: readonly Member[] }
  | { type: "change"; change: PresenceChange }
  | { type: "lost" }
  | { type: "failed"; reason: string }
  | { type: "stopped" };

/** How many members the page lists; it counts all. */
export const listed = 200;

/** Before a group is watched. */
export const initialPresence: PresenceState = { phase: "off", members: new Map() };

/** The next state of the view. */
export function watch(state: PresenceState, event: PresenceEvent): PresenceState {
  switch (event.type) {
    case "start":
      return { phase: "connecting", members: new Map() };
    case "snapshot":
      return { phase: "live", members: new Map(event.members.map((member) => [member.connectionId, member])) };
    case "change": {
      const members = new Map(state.members);
      for (const member of [...event.change.joins, ...event.change.updates]) members.set(member.connectionId, member);
      for (const { connectionId } of event.change.leaves) members.delete(connectionId);
      return { ...state, members };
    }
    case "lost":
      return { ...state, phase: "reconnecting" };
    case "failed":
      return { phase: "failed", reason: event.reason, members: new Map() };
    case "stopped":
      return initialPresence;
  }
}

/** How many users are among the members; a member without a user isn't one. */
export const userCount = (members: ReadonlyMap<string, Member>): number =>
  new Set([...members.values()].flatMap(({ userId }) => userId ?? [])).size;

/** The members to list, by user and connection. */
export const rows = (members: ReadonlyMap<string, Member>): readonly Member[] =>
  [...members.values()]
    .toSorted((a, b) => (a.userId ?? "").localeCompare(b.userId ?? "") || a.connectionId.localeCompare(b.connectionId))
    .slice(0, listed);

// Enough to recognise a state; one may have several kilobytes.
const stateLength = 200;

/** A state as JSON, cut where it is too long for a row. */
export function stateText(state: unknown): string {
  const text = JSON.stringify(state ?? null);
  return text.length > stateLength ? `${text.slice(0, stateLength)}…` : text;
}

/** The members in what a hub has sent; everything that is none is left out. */
export function readMembers(value: unknown): readonly Member[] {
  if (!Array.isArray(value)) return [];
  return value.filter((each: unknown): each is Member => typeof each === "object" && each !== null && "connectionId" in each && typeof each.connectionId === "string");
}

/** What a message of a hub says of a group; undefined when it is about another. */
export function readChange(value: unknown, group: string): PresenceChange | undefined {
  if (typeof value !== "object" || value === null || !("group" in value) || value.group !== group) return undefined;
  const list = (name: "joins" | "updates" | "leaves") => readMembers((value as Record<string, unknown>)[name]);
  return { joins: list("joins"), updates: list("updates"), leaves: list("leaves"), reset: "reset" in value && value.reset === true };
}
