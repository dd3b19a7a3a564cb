import { HubConnectionState, type HubConnection } from "@microsoft/signalr";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { openFeed, type FeedDeps, type LiveStatus, type LiveTicket } from "./feed";
import { retryDelay } from "./retryDelay";

// A connection whose life the test decides.
class FakeConnection {
  state = HubConnectionState.Disconnected;
  closed: () => void = () => undefined;
  reconnecting: () => void = () => undefined;
  reconnected: () => void = () => undefined;
  constructor(private readonly startError?: Error) {}
  onclose = (callback: () => void) => void (this.closed = callback);
  onreconnecting = (callback: () => void) => void (this.reconnecting = callback);
  onreconnected = (callback: () => void) => void (this.reconnected = callback);
  start = () => (this.startError ? Promise.reject(this.startError) : Promise.resolve());
  stop = vi.fn(() => {
    this.closed();
    return Promise.resolve();
  });
}

const settle = () => vi.advanceTimersByTimeAsync(0);

function setUp(connections: FakeConnection[]) {
  const statuses: LiveStatus[] = [];
  const tokens: (() => Promise<string>)[] = [];
  let issued = 0;
  const deps: FeedDeps = {
    ticket: vi.fn((): Promise<LiveTicket> => {
      issued += 1;
      const expires_at = new Date(Date.now() + 600_000).toISOString();
      return Promise.resolve({ url: "http://live.test", token: `token-${issued}`, expires_at });
    }),
    build: vi.fn((_url, token) => {
      tokens.push(token);
      const next = connections.shift();
      if (!next) throw new Error("no more connections expected");
      return Promise.resolve(next as unknown as HubConnection);
    }),
    onStatus: (status) => void statuses.push(status),
    onMessage: vi.fn(),
  };
  return { deps, statuses, tokens };
}

describe("openFeed", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  it("is live once connected, polls while reconnecting", async () => {
    const connection = new FakeConnection();
    const { deps, statuses } = setUp([connection]);
    const stop = openFeed(deps);
    await settle();
    connection.reconnecting();
    connection.reconnected();
    expect(statuses).toEqual(["connecting", "live", "polling", "live"]);
    stop();
  });

  it("polls and tries again, with a new ticket, when the start fails or the service closes", async () => {
    const second = new FakeConnection();
    const { deps, statuses } = setUp([new FakeConnection(new Error("503")), second, new FakeConnection()]);
    const stop = openFeed(deps);
    await settle();
    expect(statuses).toEqual(["connecting", "polling"]);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(statuses.at(-1)).toBe("live");
    second.closed();
    await settle();
    expect(statuses.at(-1)).toBe("polling");
    await vi.advanceTimersByTimeAsync(20_000);
    expect(statuses.at(-1)).toBe("live");
    expect(deps.ticket).toHaveBeenCalledTimes(3);
    stop();
  });

  it("reuses a token that is good and replaces one that is nearly over", async () => {
    const { deps, tokens } = setUp([new FakeConnection()]);
    const stop = openFeed(deps);
    await settle();
    expect(await tokens[0]?.()).toBe("token-1");
    await vi.advanceTimersByTimeAsync(545_000);
    expect(await tokens[0]?.()).toBe("token-2");
    stop();
  });

  it("stops the connection and says nothing more", async () => {
    const connection = new FakeConnection();
    const { deps, statuses } = setUp([connection]);
    const stop = openFeed(deps);
    await settle();
    stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(connection.stop).toHaveBeenCalledOnce();
    expect(statuses).toEqual(["connecting", "live"]);
    expect(deps.build).toHaveBeenCalledOnce();
  });
});

describe("retryDelay", () => {
  it("doubles to a bound and keeps at least half", () => {
    expect(retryDelay(0, () => 1)).toBe(500);
    expect(retryDelay(3, () => 1)).toBe(4000);
    expect(retryDelay(50, () => 1)).toBe(15_000);
    expect(retryDelay(50, () => 0)).toBe(7500);
  });
});
