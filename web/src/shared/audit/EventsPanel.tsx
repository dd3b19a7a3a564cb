import { Button, Code, Group, Stack, Table, Text, TextInput } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";

import type { AuditEventList } from "../api/types";
import { Pager } from "../ui/Pager";
import { Panel } from "../ui/Page";
import { RelativeTime } from "../ui/RelativeTime";
import { ErrorState, SkeletonRows } from "../ui/states";
import { secondaryCell, WideTable } from "../ui/WideTable";
import { actionProblem, type AuditSearch } from "./useAuditFilter";

const actors = { user: "", api_token: "Token", operator: "Operator", system: "The service", nobody: "Not signed in" } as const;

interface Props {
  search: AuditSearch;
  events: UseQueryResult<AuditEventList, unknown>;
  /** Where the log is downloaded, without its query. */
  exportPath: string;
  /** The field that picks a tenant. */
  tenant: ReactNode;
}

/** The events of an audit log: found, paged through and downloaded. */
export function EventsPanel({ search, events, exportPath, tenant }: Props) {
  const { fields, filter, change } = search;
  const file = (format: string) => `${exportPath}?${new URLSearchParams({ ...filter, format }).toString()}`;
  return (
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
            value={fields.action}
            error={actionProblem(fields.action)}
            onChange={({ currentTarget }) => change({ action: currentTarget.value })}
          />
          <TextInput
            label="Who"
            placeholder="Address, name or id"
            value={fields.actor}
            onChange={({ currentTarget }) => change({ actor: currentTarget.value })}
          />
          {tenant}
          <TextInput type="datetime-local" label="From" value={fields.from} onChange={({ currentTarget }) => change({ from: currentTarget.value })} />
          <TextInput type="datetime-local" label="Before" value={fields.to} onChange={({ currentTarget }) => change({ to: currentTarget.value })} />
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
        <Pager hasNewer={search.hasNewer} next={events.data?.next_cursor} onNewer={search.newer} onOlder={search.older} />
      </Stack>
    </Panel>
  );
}
