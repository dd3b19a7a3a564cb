import type { CheckAction } from "@/shared/api/types";

/** How long a token may live: what the select offers. */
export const lifetimes = [
  { value: "300", label: "5 minutes" },
  { value: "3600", label: "1 hour" },
  { value: "28800", label: "8 hours" },
  { value: "86400", label: "24 hours" },
] as const;

/** What can be asked about, in words. */
export const actions: readonly { value: CheckAction; label: string }[] = [
  { value: "connect", label: "Connect" },
  { value: "joinGroup", label: "Join a group" },
  { value: "leaveGroup", label: "Leave a group" },
  { value: "sendToGroup", label: "Send to a group" },
  { value: "readPresence", label: "Read presence" },
  { value: "readHistory", label: "Read history" },
];

/** Permissions to choose from; others can be typed. */
export const suggestions = ["joinGroup", "leaveGroup", "sendToGroup", "joinGroup:room-*", "sendToGroup:user-{user}"];

/** Every action but connecting is about a group. */
export const needsGroup = (action: CheckAction): boolean => action !== "connect";

/** Text without what is left out. */
export const given = (text: string): string | undefined => text.trim() || undefined;

/** A revocation that holds until it is lifted has an end that nobody will see. */
export function endOf(expiresAt: string, madeAt: number): string | undefined {
  const years = (Date.parse(expiresAt) - madeAt) / (365 * 24 * 3600 * 1000);
  return years > 10 ? undefined : expiresAt;
}
