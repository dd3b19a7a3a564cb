import type { AuditVerification } from "../api/types";

/** How many events are verified with one request at most. */
export const verifyStep = 200_000;

/** A step of a verification: what is behind `after`, as far as there was time for. */
export type VerifyStep = (after?: { after: number; after_hash: string }) => Promise<AuditVerification>;

/** Verifies a whole chain, step by step. */
export async function verifyAll(step: VerifyStep): Promise<AuditVerification> {
  let events = 0;
  let found = await step();
  while (found.intact && !found.complete) {
    events += found.events;
    // Each step builds on what the one before has found.
    // oxlint-disable-next-line no-await-in-loop
    found = await step({ after: found.head_number, after_hash: found.head_hash });
  }
  return { ...found, events: events + found.events };
}
