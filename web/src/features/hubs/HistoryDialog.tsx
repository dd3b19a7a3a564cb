import { Button, Group, Modal, Stack, Table, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { History } from "lucide-react";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { hubsQuery } from "@/shared/api/queries";
import type { Hub, HubVersion, Tenant } from "@/shared/api/types";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { EmptyState, ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { WideTable } from "@/shared/ui/WideTable";
import { differences } from "./versions";

interface Props {
  tenant: Tenant;
  /** The hub whose versions are shown; undefined = none. */
  hub: Hub | undefined;
  /** Whether the user may return to a version. */
  changes: boolean;
  onClose: () => void;
}

/** What a hub's settings were, who made them so, and the way back. */
export function HistoryDialog({ tenant, hub, changes, onClose }: Props) {
  return (
    <Modal opened={hub !== undefined} onClose={onClose} title={`Versions of ${hub?.name ?? ""}`} centered size="lg">
      {hub && <Versions tenant={tenant} hub={hub.name} changes={changes} />}
    </Modal>
  );
}

const versionsQuery = (tenant: string, hub: string) =>
  query.queryOptions("get", "/v1/tenants/{tenant}/hubs/{hub}/versions", { params: { path: { tenant, hub } } });

function Versions({ tenant, hub, changes }: { tenant: Tenant; hub: string; changes: boolean }) {
  const versions = useQuery(versionsQuery(tenant.slug, hub));
  const [chosen, setChosen] = useState<HubVersion>();
  if (versions.isPending) return <SkeletonRows rows={3} />;
  if (versions.isError) {
    return <ErrorState error={versions.error} what="the versions" onRetry={() => void versions.refetch()} />;
  }
  const [present, ...former] = versions.data.versions;
  if (!present) {
    return (
      <EmptyState icon={<History size={22} />} title="No versions yet">
        The hub has the defaults. Each change of its settings makes a version.
      </EmptyState>
    );
  }
  if (chosen) {
    return (
      <Return tenant={tenant} hub={hub} present={present} chosen={chosen} changes={changes} onBack={() => setChosen(undefined)} />
    );
  }
  return (
    <Stack gap="sm">
      {[present, ...former].map((version) => (
        <Group key={version.version} justify="space-between" role="group" aria-label={`Version ${version.version}`}>
          <div>
            <Group gap="sm">
              <Text fw={550}>Version {version.version}</Text>
              {version === present && <Tag tone="good">present</Tag>}
              {!version.settings && <Tag tone="neutral">defaults</Tag>}
            </Group>
            <Text c="dimmed" size="sm">
              <RelativeTime at={version.created_at} /> by {author(version)}
              {version.returned_to && `, returning to version ${version.returned_to}`}
            </Text>
          </div>
          {version !== present && (
            <Button size="sm" variant="default" onClick={() => setChosen(version)}>
              Compare
            </Button>
          )}
        </Group>
      ))}
    </Stack>
  );
}

/** Who made a version. */
function author({ changed_by, token }: HubVersion): string {
  if (changed_by && token) return `${changed_by} with the API token ${token}`;
  if (token) return `the API token ${token}`;
  return changed_by ?? "the service";
}

interface ReturnProps {
  tenant: Tenant;
  hub: string;
  present: HubVersion;
  chosen: HubVersion;
  changes: boolean;
  onBack: () => void;
}

function Return({ tenant, hub, present, chosen, changes, onBack }: ReturnProps) {
  const queryClient = useQueryClient();
  const back = query.useMutation("post", "/v1/tenants/{tenant}/hubs/{hub}/versions/{version}/return", {
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: versionsQuery(tenant.slug, hub).queryKey });
      await queryClient.invalidateQueries({ queryKey: hubsQuery(tenant.slug).queryKey });
      onBack();
    },
  });
  const differing = differences(present.settings, chosen.settings);
  return (
    <Stack>
      <Text>
        {differing.length === 0
          ? "These settings are the present ones."
          : `What returning to version ${chosen.version} changes:`}
      </Text>
      {differing.length > 0 && (
        <WideTable label="Differences">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Setting</Table.Th>
              <Table.Th>Now</Table.Th>
              <Table.Th>Version {chosen.version}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {differing.map(({ setting, from, to }) => (
              <Table.Tr key={setting}>
                <Table.Td>{setting}</Table.Td>
                <Table.Td>{from ?? "default"}</Table.Td>
                <Table.Td>{to ?? "default"}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </WideTable>
      )}
      <FormAlert message={back.isError ? toProblem(back.error).message : undefined} />
      <Group justify="flex-end">
        <Button variant="default" onClick={onBack}>
          Back
        </Button>
        {changes && differing.length > 0 && (
          <Button
            loading={back.isPending}
            onClick={() => back.mutate({ params: { path: { tenant: tenant.slug, hub, version: chosen.version } } })}
          >
            Return to this version
          </Button>
        )}
      </Group>
    </Stack>
  );
}
