import { describe, expect, it } from "vitest";

import { initialReceiver, kept, preview, receive, type ReceiverEvent, type ReceiverState } from "./receiver";

const at = "2026-11-22T20:00:00Z";
const message = (target: string): ReceiverEvent => ({ type: "message", message: { target, arguments: [1] }, at });
const after = (events: readonly ReceiverEvent[], from: ReceiverState = initialReceiver) => events.reduce(receive, from);

describe("receive", () => {
  it("goes from off over connecting to connected", () => {
    expect(after([{ type: "start" }]).phase).toBe("connecting");
    expect(after([{ type: "start" }, { type: "connected" }]).phase).toBe("connected");
  });

  it("puts the newest message first and numbers them", () => {
    const { messages, received } = after([message("a"), message("b")]);
    expect(messages.map(({ id, target }) => [id, target])).toEqual([[2, "b"], [1, "a"]]);
    expect(received).toBe(2);
  });

  it("forgets the oldest but goes on counting", () => {
    const { messages, received } = after(Array.from({ length: kept + 5 }, () => message("tick")));
    expect(messages).toHaveLength(kept);
    expect(messages.at(-1)?.id).toBe(6);
    expect(received).toBe(kept + 5);
  });

  it("keeps messages over a reconnect and a stop", () => {
    const state = after([message("a"), { type: "lost" }, { type: "connected" }, { type: "stopped" }]);
    expect(state.phase).toBe("off");
    expect(state.messages).toHaveLength(1);
  });

  it("drops the reason of a failure at the next try", () => {
    const failed = after([{ type: "failed", reason: "401" }]);
    expect(failed).toMatchObject({ phase: "failed", reason: "401" });
    expect(receive(failed, { type: "start" }).reason).toBeUndefined();
  });

  it("clears what is shown", () => {
    expect(after([message("a"), { type: "clear" }]).messages).toEqual([]);
  });
});

describe("preview", () => {
  it("writes arguments as JSON", () => expect(preview(["world", { n: 1 }, null])).toBe('"world", {"n":1}, null'));
  it("cuts what is too long to read", () => expect(preview(["x".repeat(5000)])).toHaveLength(301));
});
