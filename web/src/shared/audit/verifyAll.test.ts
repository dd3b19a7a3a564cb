import { expect, it } from "vitest";

import type { AuditVerification } from "../api/types";
import { verifyAll } from "./verifyAll";

/** Answers step by step, and keeps what it was asked. */
function steps(...answers: Partial<AuditVerification>[]) {
  const asked: unknown[] = [];
  return {
    asked,
    step: (after?: unknown): Promise<AuditVerification> => {
      asked.push(after);
      return Promise.resolve({ intact: true, complete: true, events: 10, head_number: asked.length * 10, head_hash: `h${asked.length}`, ...answers[asked.length - 1] });
    },
  };
}

it("goes on where a step ended, to the end of the chain", async () => {
  const { asked, step } = steps({ complete: false }, { complete: false }, { events: 3 });
  expect(await verifyAll(step)).toMatchObject({ intact: true, complete: true, events: 23, head_hash: "h3" });
  expect(asked).toEqual([undefined, { after: 10, after_hash: "h1" }, { after: 20, after_hash: "h2" }]);
});

it("ends where the chain is broken", async () => {
  const { asked, step } = steps({ complete: false }, { intact: false, complete: false, events: 1, broken_number: 12 });
  expect(await verifyAll(step)).toMatchObject({ intact: false, broken_number: 12, events: 11 });
  expect(asked).toHaveLength(2);
});
