import type { ReactNode } from "react";

import { EntryFrame } from "@/shared/ui/EntryFrame";

interface Props {
  title: string;
  description?: ReactNode;
  children: ReactNode;
}

const promises = [
  ["Ordered.", "All messages of a hub have one order; each connection sees its part, each message at most once."],
  ["No sticky sessions.", "WebSockets, Server-Sent Events and long polling behind a plain balancer."],
  ["Fair and countable.", "Own endpoint, keys, limits and usage. A refusal says which limit and when to retry."],
] as const;

/** The frame of the pages before signing in, for customers. */
export function AuthFrame(props: Props) {
  return <EntryFrame {...props} claim="Real-time messaging for every client that speaks SignalR." points={promises} />;
}
