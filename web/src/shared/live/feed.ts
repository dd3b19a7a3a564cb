import type { HubConnection } from "@microsoft/signalr";

import { retryDelay } from "./retryDelay";

/** A message as a SignalR client gets it. */
export interface HubMessage {
  target: string;
  arguments: readonly unknown[];
}

/** live: events arrive; polling: they don't, ask instead; connecting: not yet known. */
export type LiveStatus = "connecting" | "live" | "polling";

/** Where to connect and with what. */
export interface LiveTicket {
  url: string;
  token: string;
  expires_at: string;
}

/** What a feed needs from outside. */
export interface FeedDeps {
  ticket: () => Promise<LiveTicket>;
  build: (
    url: string,
    token: () => Promise<string>,
    observe: (message: HubMessage) => void,
  ) => Promise<HubConnection>;
  onStatus: (status: LiveStatus) => void;
  onMessage: (message: HubMessage) => void;
}

// A token this close to its end is not worth connecting with.
const tokenMarginMs = 60_000;

/**
 * Keeps one connection to a tenant's live events until the returned function is
 * called: reconnects, takes a new token when the old one ends, and starts anew
 * when the service closes it for good.
 */
export function openFeed(deps: FeedDeps): () => void {
  const stop = new AbortController();
  void run(deps, stop.signal);
  return () => stop.abort();
}

async function run(deps: FeedDeps, stopped: AbortSignal): Promise<void> {
  let ticket: LiveTicket | undefined;
  const token = async () => {
    if (!ticket || Date.parse(ticket.expires_at) - Date.now() < tokenMarginMs) ticket = await deps.ticket();
    return ticket.token;
  };
  const say = (status: LiveStatus) => {
    if (!stopped.aborted) deps.onStatus(status);
  };
  say("connecting");
  for (let attempt = 0; !stopped.aborted; attempt += 1) {
    try {
      ticket = await deps.ticket();
      if (stopped.aborted) return;
      const connection = await deps.build(ticket.url, token, (message) => {
        if (!stopped.aborted) deps.onMessage(message);
      });
      if (stopped.aborted) return;
      const closed = new Promise<void>((resolve) => connection.onclose(() => resolve()));
      connection.onreconnecting(() => say("polling"));
      connection.onreconnected(() => say("live"));
      const end = () => void connection.stop();
      stopped.addEventListener("abort", end, { once: true });
      try {
        await connection.start();
        attempt = 0;
        say("live");
        await closed;
      } finally {
        stopped.removeEventListener("abort", end);
      }
    } catch {
      // Whatever it was, the answer is the same: poll meanwhile, try again.
    }
    say("polling");
    await pause(retryDelay(attempt), stopped);
  }
}

function pause(ms: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stopped.aborted) {
      resolve();
      return;
    }
    const done = () => {
      clearTimeout(timer);
      stopped.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    stopped.addEventListener("abort", done, { once: true });
  });
}
