import { SegmentedControl, Skeleton, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { usageTopQuery } from "@/shared/api/queries";
import type { Tenant, UsageDimension, UsageStep, UsageTopSum } from "@/shared/api/types";
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

/** What is in the total and not in values. */
function rest(total: UsageTopSum, values: readonly UsageTopSum[]): UsageTopSum {
  return values.reduce(
    (left, value) => ({
      messages_accepted: left.messages_accepted - value.messages_accepted,
      messages_delivered: left.messages_delivered - value.messages_delivered,
    }),
    total,
  );
}

function Sums({ of }: { of: UsageTopSum }) {
  return (
    <>
      <Table.Td className="tabular">{formatCount(of.messages_accepted)}</Table.Td>
      <Table.Td className="tabular">{formatCount(of.messages_delivered)}</Table.Td>
    </>
  );
}

/** What messages were for: the largest values, and the rest, so that the sums are exact. */
export function TopPanel({ tenant, step, words }: { tenant: Tenant; step: UsageStep; words: string }) {
  const [by, setBy] = useState<UsageDimension>("hub");
  const top = useQuery({ ...usageTopQuery(tenant.slug, by, step), refetchInterval: 30_000 });
  const values = top.data?.values.slice(0, shown) ?? [];
  return (
    <Panel
      title="Messages by"
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
        <WideTable label={`Messages by ${by}`}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{dimensions.find(({ value }) => value === by)?.label}</Table.Th>
              <Table.Th>Accepted</Table.Th>
              <Table.Th>Delivered</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {values.map((one) => (
              <Table.Tr key={one.value}>
                <Table.Td>{one.value || "None"}</Table.Td>
                <Sums of={one} />
              </Table.Tr>
            ))}
            <Table.Tr>
              <Table.Td>Other</Table.Td>
              <Sums of={rest(top.data.total, values)} />
            </Table.Tr>
            <Table.Tr>
              <Table.Th scope="row">All</Table.Th>
              <Sums of={top.data.total} />
            </Table.Tr>
          </Table.Tbody>
        </WideTable>
      )}
    </Panel>
  );
}
