import type { ReactNode } from "react";

import { EntryFrame } from "@/shared/ui/EntryFrame";

const points = [
  ["Not for customers.", "Operators have accounts, a listener and an audit log of their own."],
  ["Seen.", "What you change in a tenant is in its account's audit log, with your name and your reason."],
  ["Short.", "You are signed out after 15 minutes without a request, and after 8 hours."],
] as const;

/** The frame of the pages before signing in, for operators. */
export function OperatorFrame(props: { title: string; description?: ReactNode; children: ReactNode }) {
  return <EntryFrame {...props} claim="For those who run the service." points={points} />;
}
