import { describe, expect, it } from "vitest";

import { initialPresence, listed, readChange, readMembers, rows, stateText, userCount, watch, type Member, type PresenceEvent } from "./presence";

const member = (connectionId: string, userId?: string, state?: unknown): Member => ({ connectionId, ...(userId && { userId }), ...(state !== undefined && { state }) });
const change = (part: object): PresenceEvent => ({ type: "change", change: { joins: [], updates: [], leaves: [], reset: false, ...part } });
const after = (...events: readonly PresenceEvent[]) => events.reduce(watch, initialPresence);

describe("watch", () => {
  it("has the snapshot and what changes behind it", () => {
    const state = after(
      { type: "start" },
      { type: "snapshot", members: [member("1", "ann", 1), member("2", "ben")] },
      change({ joins: [member("3", "ann")], updates: [member("1", "ann", 2)], leaves: [member("2")] }),
    );
    expect(state.phase).toBe("live");
    expect(rows(state.members)).toEqual([member("1", "ann", 2), member("3", "ann")]);
    expect(userCount(state.members)).toBe(1);
  });

  it("begins anew with another snapshot, and shows nobody when it has failed", () => {
    const lost = after({ type: "snapshot", members: [member("1")] }, { type: "lost" });
    expect([lost.phase, lost.members.size]).toEqual(["reconnecting", 1]);
    expect(rows(watch(lost, { type: "snapshot", members: [member("9")] }).members)).toEqual([member("9")]);
    const failed = watch(lost, { type: "failed", reason: "presence_full" });
    expect([failed.reason, failed.members.size]).toEqual(["presence_full", 0]);
    expect(watch(failed, { type: "stopped" })).toEqual(initialPresence);
  });
});

it("lists no more than the page can show", () => {
  const members = new Map(Array.from({ length: listed + 5 }, (_, i) => [`${i}`, member(`${i}`)]));
  expect(rows(members)).toHaveLength(listed);
});

it("reads what a hub tells of this group alone", () => {
  expect(readChange({ group: "a", joins: [member("1")], count: 1 }, "a")).toEqual({ joins: [member("1")], updates: [], leaves: [], reset: false });
  expect(readChange({ group: "a", reset: true }, "a")?.reset).toBe(true);
  for (const other of [{ group: "b" }, {}, null, "a", undefined]) expect(readChange(other, "a")).toBeUndefined();
  expect(readMembers([member("1"), null, {}, "x", { connectionId: 7 }])).toEqual([member("1")]);
});

it("shows a state as JSON, cut where it is long", () => {
  expect(stateText({ typing: true })).toBe('{"typing":true}');
  expect(stateText(undefined)).toBe("null");
  expect(stateText("x".repeat(5000))).toHaveLength(201);
});
