import { Anchor, Group, Select, Stack, Table, Text, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { keepPreviousData } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { Building2, Search } from "lucide-react";
import { useState } from "react";

import { formatCount } from "@/shared/lib/format";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Page, Panel } from "@/shared/ui/Page";
import { Pager } from "@/shared/ui/Pager";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { EmptyState, ErrorState, SkeletonRows } from "@/shared/ui/states";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { query } from "../api/client";
import type { Tenant, TenantStatus } from "../api/queries";
import { StatusTag } from "./StatusTag";

export interface TenantFilter {
  search?: string | undefined;
  status?: TenantStatus | undefined;
}

const pageSize = 25;
/** How long after the last key the list is asked for, in milliseconds. */
const typing = 250;

/** All tenants, found by parts of what they are called. */
export function TenantsPage({ filter, onFilter }: { filter: TenantFilter; onFilter: (filter: TenantFilter) => void }) {
  useDocumentTitle("Tenants", "Operators");
  const [typed, setTyped] = useState(filter.search ?? "");
  const [cursors, setCursors] = useState<readonly string[]>([]);
  const change = (next: TenantFilter) => {
    setCursors([]);
    onFilter(next);
  };
  const find = useDebouncedCallback((search: string) => change({ ...filter, search: search.trim() || undefined }), typing);
  const cursor = cursors.at(-1);
  const tenants = query.useQuery(
    "get",
    "/operator/v1/tenants",
    {
      params: {
        query: {
          limit: pageSize,
          ...(filter.search && { search: filter.search }),
          ...(filter.status && { status: filter.status }),
          ...(cursor && { cursor }),
        },
      },
    },
    { placeholderData: keepPreviousData },
  );
  const list = tenants.data?.tenants ?? [];
  return (
    <Page title="Tenants" description="Every tenant there is, the newest first.">
      <Panel>
        <Stack gap="md">
          <Group gap="sm" align="end">
            <TextInput
              label="Search"
              description="A part of a name, a slug or a member's address, or an id"
              leftSection={<Search size={16} aria-hidden />}
              maxLength={254}
              flex="1 1 260px"
              value={typed}
              onChange={({ currentTarget }) => {
                setTyped(currentTarget.value);
                find(currentTarget.value);
              }}
            />
            <Select
              label="State"
              placeholder="All"
              clearable
              data={[
                { value: "active", label: "Active" },
                { value: "suspended", label: "Suspended" },
              ]}
              value={filter.status ?? null}
              onChange={(status) => change({ ...filter, status: (status as TenantStatus | null) ?? undefined })}
            />
          </Group>
          {tenants.isPending && <SkeletonRows rows={6} />}
          {tenants.isError && <ErrorState error={tenants.error} what="the tenants" onRetry={() => void tenants.refetch()} />}
          {tenants.isSuccess && list.length === 0 && (
            <EmptyState icon={<Building2 size={22} />} title="No tenants">
              {filter.search || filter.status ? "None is called so. Deleted tenants are not found." : "Nobody has signed up yet."}
            </EmptyState>
          )}
          {list.length > 0 && (
            <WideTable label="Tenants">
              <Table.Thead>
                <Table.Tr>
                  <Table.Th>Tenant</Table.Th>
                  <Table.Th>State</Table.Th>
                  <Table.Th>Connections</Table.Th>
                  <Table.Th className={secondaryCell}>Account</Table.Th>
                  <Table.Th className={secondaryCell}>Plan</Table.Th>
                  <Table.Th className={secondaryCell}>Made</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody className="tabular">
                {list.map((tenant) => (
                  <TenantRow key={tenant.id} tenant={tenant} />
                ))}
              </Table.Tbody>
            </WideTable>
          )}
          <Pager
            hasNewer={cursors.length > 0}
            next={tenants.data?.next_cursor}
            onNewer={() => setCursors(cursors.slice(0, -1))}
            onOlder={(next) => setCursors([...cursors, next])}
          />
        </Stack>
      </Panel>
    </Page>
  );
}

function TenantRow({ tenant }: { tenant: Tenant }) {
  return (
    <Table.Tr>
      <Table.Td>
        <Anchor fw={550} renderRoot={(props) => <Link to="/tenants/$tenant" params={{ tenant: tenant.id }} {...props} />}>
          {tenant.name}
        </Anchor>
        <Text size="xs" c="dimmed" ff="monospace" style={{ overflowWrap: "anywhere" }}>
          {tenant.slug}
        </Text>
      </Table.Td>
      <Table.Td>
        <StatusTag tenant={tenant} />
      </Table.Td>
      <Table.Td>{tenant.connections_now === undefined ? "unknown" : formatCount(tenant.connections_now)}</Table.Td>
      <Table.Td className={secondaryCell}>{tenant.account_name}</Table.Td>
      <Table.Td className={secondaryCell}>
        {tenant.plan}
        <Text size="xs" c="dimmed">
          {tenant.environment}
        </Text>
      </Table.Td>
      <Table.Td className={secondaryCell}>
        <RelativeTime at={tenant.created_at} />
      </Table.Td>
    </Table.Tr>
  );
}
