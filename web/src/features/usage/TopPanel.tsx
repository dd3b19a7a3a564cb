import { SegmentedControl, Skeleton, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { usageTopQuery } from "@/shared/api/queries";
import type { Tenant, UsageDimension, UsageStep } from "@/shared/api/types";
import { formatCount } from "@/shared/lib/format";
import { Panel } from "@/shared/ui/Page";
import { WideTable } from "@/shared/ui/WideTable";

const dimensions: readonly { value: UsageDimension; label: string }[] = [
  { value: "hub", label: "Hub" },
  { value: "group", label: "Group" },
  { value: "user", label: "User" },
  { value: "method", label: "Method" },
  { value: "key", label: "Key" },
];
const shown = 10;

/** What messages were accepted for: the largest values, and the rest, so that the sum is exact. */
export function TopPanel({ tenant, step, words }: { tenant: Tenant; step: UsageStep; words: string }) {
  const [by, setBy] = useState<UsageDimension>("hub");
  const top = useQuery({ ...usageTopQuery(tenant.slug, by, step), refetchInterval: 30_000 });
  const values = top.data?.values.slice(0, shown) ?? [];
  const rest = (top.data?.total ?? 0) - values.reduce((sum, { messages_accepted }) => sum + messages_accepted, 0);
  return (
    <Panel
      title="Accepted messages by"
      description={`In ${words}. A value has at least what is shown, and at most that and what is under "Other".`}
      aside={
        <SegmentedControl
          aria-label="Dimension"
          size="xs"
          value={by}
          onChange={(value) => setBy(value as UsageDimension)}
          data={[...dimensions]}
        />
      }
    >
      {top.isError ? (
        <Text size="sm" c="dimmed">
          This can't be read now.
        </Text>
      ) : !top.data ? (
        <Skeleton height={120} radius="md" />
      ) : (
        <WideTable label={`Accepted messages by ${by}`}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{dimensions.find(({ value }) => value === by)?.label}</Table.Th>
              <Table.Th>Messages</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {values.map(({ value, messages_accepted }) => (
              <Table.Tr key={value}>
                <Table.Td>{value || "None"}</Table.Td>
                <Table.Td className="tabular">{formatCount(messages_accepted)}</Table.Td>
              </Table.Tr>
            ))}
            <Table.Tr>
              <Table.Td>Other</Table.Td>
              <Table.Td className="tabular">{formatCount(rest)}</Table.Td>
            </Table.Tr>
            <Table.Tr>
              <Table.Th scope="row">All</Table.Th>
              <Table.Td className="tabular">{formatCount(top.data.total)}</Table.Td>
            </Table.Tr>
          </Table.Tbody>
        </WideTable>
      )}
    </Panel>
  );
}
