import { Button, Table, Text } from "@mantine/core";
import { useState } from "react";

import { formatCount, formatLimit } from "@/shared/lib/format";
import { headroom } from "@/shared/lib/headroom";
import { HeadroomTag } from "@/shared/ui/HeadroomTag";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import type { Limit, TenantDetails } from "../api/queries";
import { LimitDialog } from "./LimitDialog";
import { aboutSource, sourceOf } from "./source";

/** The limits in force: where each comes from, how much is used, what it refused. */
export function LimitsPanel({ details }: { details: TenantDetails }) {
  const [edited, setEdited] = useState<Limit>();
  return (
    <Panel title="Limits" description="What is enforced, whoever decided it." flush>
      <WideTable label="Limits">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Limit</Table.Th>
            <Table.Th>In force</Table.Th>
            <Table.Th>From</Table.Th>
            <Table.Th>Now</Table.Th>
            <Table.Th className={secondaryCell}>Peak today</Table.Th>
            <Table.Th className={secondaryCell}>Refused today</Table.Th>
            <Table.Th aria-label="Change" />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody className="tabular">
          {details.limits.map((limit) => (
            <Table.Tr key={limit.limit}>
              <Table.Td>
                {limit.title}
                <Text size="xs" c="dimmed" ff="monospace" style={{ overflowWrap: "anywhere" }}>
                  {limit.limit}
                </Text>
              </Table.Td>
              <Table.Td>{formatLimit(limit.max, limit.unit)}</Table.Td>
              <Table.Td>
                <Source limit={limit} />
              </Table.Td>
              <Table.Td>
                {limit.used === undefined ? (
                  "–"
                ) : (
                  <>
                    {formatCount(limit.used)} <HeadroomTag state={headroom(limit)} />
                  </>
                )}
              </Table.Td>
              <Table.Td className={secondaryCell}>{limit.peak === undefined ? "–" : formatCount(limit.peak)}</Table.Td>
              <Table.Td className={secondaryCell}>{limit.refused === undefined ? "–" : formatCount(limit.refused)}</Table.Td>
              <Table.Td ta="right">
                <Button variant="default" size="compact-sm" aria-label={`Change ${limit.title.toLowerCase()}`} onClick={() => setEdited(limit)}>
                  Change
                </Button>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </WideTable>
      <LimitDialog tenant={details.tenant} limit={edited} onClose={() => setEdited(undefined)} />
    </Panel>
  );
}

function Source({ limit }: { limit: Limit }) {
  const { label, tone } = sourceOf(limit);
  const about = aboutSource(limit);
  return (
    <>
      <Tag tone={tone}>{label}</Tag>
      <Text size="xs" c="dimmed" component="div">
        {about}
        {limit.expires_at && (
          <>
            {about && ", "}back <RelativeTime at={limit.expires_at} />
          </>
        )}
      </Text>
      {limit.reason && (
        <Text size="xs" c="dimmed" maw="32ch" style={{ overflowWrap: "anywhere" }}>
          {limit.reason}
        </Text>
      )}
    </>
  );
}
