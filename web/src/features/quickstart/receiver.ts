import type { HubMessage } from "@/shared/live/feed";

/** A message that arrived in this page. */
export interface ReceivedMessage extends HubMessage {
  /** Counts from 1. */
  id: number;
  /** ISO time of arrival. */
  at: string;
}

/** The state of the page's own connection. */
export interface ReceiverState {
  phase: "off" | "connecting" | "connected" | "reconnecting" | "failed";
  /** Why it failed, for people. */
  reason?: string | undefined;
  /** Newest first, at most `kept`. */
  messages: readonly ReceivedMessage[];
  /** How many have arrived, kept or not. */
  received: number;
}

/** What happens to the page's own connection. */
export type ReceiverEvent =
  | { type: "start" }
  | { type: "connected" }
  | { type: "lost" }
  | { type: "failed"; reason: string }
  | { type: "stopped" }
  | { type: "message"; message: HubMessage; at: string }
  | { type: "clear" };

/** How many messages the page keeps: a busy hub must not fill its memory. */
export const kept = 50;

/** Before the first connection. */
export const initialReceiver: ReceiverState = { phase: "off", messages: [], received: 0 };

/** The next state of the receiver. */
export function receive(state: ReceiverState, event: ReceiverEvent): ReceiverState {
  switch (event.type) {
    case "start":
      return { ...state, phase: "connecting", reason: undefined };
    case "connected":
      return { ...state, phase: "connected", reason: undefined };
    case "lost":
      return { ...state, phase: "reconnecting" };
    case "failed":
      return { ...state, phase: "failed", reason: event.reason };
    case "stopped":
      return { ...state, phase: "off" };
    case "message": {
      const received = state.received + 1;
      const message = { ...event.message, id: received, at: event.at };
      return { ...state, received, messages: [message, ...state.messages].slice(0, kept) };
    }
    case "clear":
      return { ...state, messages: [] };
  }
}

// Enough to recognise a message; the whole of a 1 MiB one would stall the page.
const previewLength = 300;

/** The arguments of a message as JSON, cut where it is too long to read. */
export function preview(values: readonly unknown[]): string {
  const text = values.map((value) => JSON.stringify(value) ?? "null").join(", ");
  return text.length > previewLength ? `${text.slice(0, previewLength)}…` : text;
}
