import { Button, Code, Group, Select, Stack, Table, Text, TextInput } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { ShieldAlert, ShieldCheck } from "lucide-react";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { tenantsQuery } from "@/shared/api/queries";
import type { Account } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Notice } from "@/shared/ui/Notice";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";

/** The letters of an action, as the API takes them. */
const actionForm = /^[a-z_]+(\.[a-z_]+)?$/;

const actors = { user: "", api_token: "Token", operator: "Operator", system: "The service", nobody: "Not signed in" } as const;

/** Who did what in an account: found, downloaded and verified. */
export function AuditPage({ account }: { account: Account }) {
  useDocumentTitle("Audit log", account.name);
  const [action, setAction] = useState("");
  const [actor, setActor] = useState("");
  const [tenant, setTenant] = useState<string | null>(null);
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const { data: tenants } = useQuery(tenantsQuery());

  const filter = {
    ...(actionForm.test(action) && { action }),
    ...(actor.trim() !== "" && { actor: actor.trim() }),
    ...(tenant && { tenant }),
    ...(from !== "" && { from: new Date(from).toISOString() }),
    ...(to !== "" && { to: new Date(to).toISOString() }),
  };
  const cursor = cursors.at(-1);
  const events = query.useQuery(
    "get",
    "/v1/accounts/{account}/audit",
    { params: { path: { account: account.id }, query: { limit: 50, ...filter, ...(cursor && { cursor }) } } },
    { placeholderData: keepPreviousData },
  );
  const change = <T,>(set: (value: T) => void) => (value: T) => {
    set(value);
    setCursors([]);
  };
  const file = (format: string) =>
    `/v1/accounts/${encodeURIComponent(account.id)}/audit/export?${new URLSearchParams({ ...filter, format }).toString()}`;

  return (
    <Page title="Audit log" description={`Who did what in the account ${account.name}. Nobody can change or delete an event.`}>
      <VerifyPanel account={account} />
      <Panel
        title="Events"
        aside={
          <Group gap="xs">
            <Button component="a" href={file("csv")} download variant="default" size="xs">
              Download CSV
            </Button>
            <Button component="a" href={file("jsonl")} download variant="default" size="xs">
              Download JSON Lines
            </Button>
          </Group>
        }
      >
        <Stack gap="md">
          <Group gap="sm" align="end">
            <TextInput
              label="Action"
              placeholder="tenant.suspended, or tenant"
              value={action}
              error={action !== "" && !actionForm.test(action) ? "Small letters, _ and one dot" : undefined}
              onChange={({ currentTarget }) => change(setAction)(currentTarget.value)}
            />
            <TextInput label="Who" placeholder="Address, name or id" value={actor} onChange={({ currentTarget }) => change(setActor)(currentTarget.value)} />
            <Select
              label="Tenant"
              clearable
              placeholder="All"
              value={tenant}
              onChange={change(setTenant)}
              data={(tenants?.tenants ?? []).filter(({ account_id }) => account_id === account.id).map(({ id, name }) => ({ value: id, label: name }))}
            />
            <TextInput type="datetime-local" label="From" value={from} onChange={({ currentTarget }) => change(setFrom)(currentTarget.value)} />
            <TextInput type="datetime-local" label="Before" value={to} onChange={({ currentTarget }) => change(setTo)(currentTarget.value)} />
          </Group>
          {events.isPending && <SkeletonRows rows={5} />}
          {events.isError && <ErrorState error={events.error} what="the audit log" onRetry={() => void events.refetch()} />}
          {events.isSuccess && events.data.events.length === 0 && (
            <Text size="sm" c="dimmed">
              No events.
            </Text>
          )}
          {events.isSuccess && events.data.events.length > 0 && (
            <WideTable label="Events">
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>When</Table.Th>
                  <Table.Th>Who</Table.Th>
                  <Table.Th>Action</Table.Th>
                  <Table.Th>What</Table.Th>
                  <Table.Th className={secondaryCell}>From where</Table.Th>
                  <Table.Th className={secondaryCell}>Before and after</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {events.data.events.map((event) => (
                  <Table.Tr key={event.number}>
                    <Table.Td>
                      <RelativeTime at={event.at} />
                    </Table.Td>
                    <Table.Td>{[actors[event.actor], event.actor_name].filter(Boolean).join(" ")}</Table.Td>
                    <Table.Td>{event.action}</Table.Td>
                    <Table.Td>{event.subject}</Table.Td>
                    <Table.Td className={secondaryCell}>{event.ip}</Table.Td>
                    <Table.Td className={secondaryCell}>
                      {event.before !== undefined && <Code block>{JSON.stringify(event.before)}</Code>}
                      {event.after !== undefined && <Code block>{JSON.stringify(event.after)}</Code>}
                    </Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </WideTable>
          )}
          <Group gap="xs">
            <Button variant="default" size="xs" disabled={cursors.length === 0} onClick={() => setCursors(cursors.slice(0, -1))}>
              Newer
            </Button>
            <Button
              variant="default"
              size="xs"
              disabled={!events.data?.next_cursor}
              onClick={() => {
                const next = events.data?.next_cursor;
                if (next) setCursors([...cursors, next]);
              }}
            >
              Older
            </Button>
          </Group>
        </Stack>
      </Panel>
    </Page>
  );
}

/** Verifies the whole chain when it is asked to: every event is read for it. */
function VerifyPanel({ account }: { account: Account }) {
  const verification = query.useQuery(
    "get",
    "/v1/accounts/{account}/audit/verification",
    { params: { path: { account: account.id } } },
    { enabled: false, gcTime: 0, retry: false },
  );
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
