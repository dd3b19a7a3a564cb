import type { Activity } from "@/shared/api/types";

/** One light of the page: has it happened, and when. */
export interface Light {
  id: "connection" | "message";
  on: boolean;
  text: string;
  /** ISO time of the first one. */
  at: string | undefined;
}

/** The two lights of a tenant's activity; both wait while it is not known. */
export function lights(activity: Activity | undefined): readonly Light[] {
  const connectedAt = activity?.first_connection_at;
  const messageAt = activity?.first_message_at;
  return [
    {
      id: "connection",
      on: connectedAt !== undefined,
      text: connectedAt ? "Connected" : "Waiting for your first connection…",
      at: connectedAt,
    },
    {
      id: "message",
      on: messageAt !== undefined,
      text: messageAt ? "Message received" : "Waiting for your first message…",
      at: messageAt,
    },
  ];
}
