import { Button, Code, Stack, Text } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import { ShieldAlert, ShieldCheck } from "lucide-react";

import { toProblem } from "../api/problem";
import type { AuditVerification } from "../api/types";
import { Notice } from "../ui/Notice";
import { Panel } from "../ui/Page";
import { FormAlert } from "../ui/states";

/** Verifies the whole chain when it is asked to: every event is read for it. `verification` is a query that runs when it is refetched. */
export function VerifyPanel({ verification }: { verification: UseQueryResult<AuditVerification, unknown> }) {
  const found = verification.data;
  return (
    <Panel
      title="Verification"
      description="Each event has the hash of the one before. Note the newest hash outside of here: with it you can tell later whether anything before it was changed."
      aside={
        <Button variant="default" size="xs" loading={verification.isFetching} onClick={() => void verification.refetch()}>
          Verify now
        </Button>
      }
    >
      <Stack gap="sm" aria-live="polite">
        {verification.isError && <FormAlert message={toProblem(verification.error).message} />}
        {found?.intact && (
          <Text size="sm">
            <ShieldCheck size={16} aria-hidden /> {found.events} events, all as they were written. Newest: number {found.head_number},{" "}
            <Code>{found.head_hash}</Code>
          </Text>
        )}
        {found && !found.intact && (
          <Notice tone="bad" urgent icon={<ShieldAlert size={18} />} title={`Event ${found.broken_number ?? ""} is not what it was`}>
            {found.broken_reason}
          </Notice>
        )}
      </Stack>
    </Panel>
  );
}
