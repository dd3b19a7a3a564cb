import { Button, Group, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";

import { correctionsQuery } from "@/shared/api/queries";
import type { Tenant } from "@/shared/api/types";
import { formatCount } from "@/shared/lib/format";
import { Panel } from "@/shared/ui/Page";
import { WideTable } from "@/shared/ui/WideTable";

const moment = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });

/** The ledger of the last 30 days to download, and the corrections in it. */
export function LedgerPanel({ tenant }: { tenant: Tenant }) {
  const corrections = useQuery(correctionsQuery(tenant.slug));
  const file = (format: string) => `/v1/tenants/${encodeURIComponent(tenant.slug)}/ledger?format=${format}`;
  const all = `/v1/accounts/${encodeURIComponent(tenant.account_id)}/ledger?format=csv`;
  const ledger = corrections.data;
  const entries = typeof ledger === "object" ? ledger.entries : []; // text is of the other format
  return (
    <Panel
      title="Ledger"
      description="Every hour of the last 30 days, UTC. The rows add up to what you see here; none is ever changed."
      aside={
        <Group gap="xs">
          <Button component="a" href={file("csv")} download variant="default" size="xs">
            Download CSV
          </Button>
          <Button component="a" href={file("json")} download variant="default" size="xs">
            Download JSON
          </Button>
          <Button component="a" href={all} download variant="default" size="xs">
            All tenants, CSV
          </Button>
        </Group>
      }
    >
      {entries.length === 0 ? (
        <Text size="sm" c="dimmed">
          {corrections.isError ? "The corrections can't be read now." : "No corrections in this time."}
        </Text>
      ) : (
        <WideTable label="Corrections">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Made in the hour of</Table.Th>
              <Table.Th>About</Table.Th>
              <Table.Th>Messages</Table.Th>
              <Table.Th>Reason</Table.Th>
              <Table.Th>By</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {entries.map((entry) => (
              <Table.Tr key={entry.id}>
                <Table.Td>{moment.format(new Date(entry.hour))}</Table.Td>
                <Table.Td>{entry.concerns && moment.format(new Date(entry.concerns))}</Table.Td>
                <Table.Td className="tabular">{formatCount(entry.amounts.messages_accepted + entry.amounts.messages_delivered)}</Table.Td>
                <Table.Td>{entry.reason}</Table.Td>
                <Table.Td>{entry.actor}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </WideTable>
      )}
    </Panel>
  );
}
