import { ActionIcon, Button, Modal, Stack, Table, Text, VisuallyHidden } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { History, Pencil, Plus, Trash2, Waypoints } from "lucide-react";
import { useState } from "react";

import { mayCreateToken } from "@/shared/access";
import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { hubsQuery } from "@/shared/api/queries";
import type { Hub, Tenant } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { CopyButton } from "@/shared/ui/CopyButton";
import { Page, Panel } from "@/shared/ui/Page";
import { EmptyState, ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { DeliveriesPanel } from "./DeliveriesPanel";
import { HistoryDialog } from "./HistoryDialog";
import { HubDialog } from "./HubDialog";
import { handlerLabel } from "./handlers";
import classes from "./HubsPage.module.css";
import { PresencePanel } from "./PresencePanel";

/** The tenant's hubs: those with settings of their own, and those in use. */
export function HubsPage({ tenant }: { tenant: Tenant }) {
  useDocumentTitle("Hubs", tenant.name);
  const hubs = useQuery(hubsQuery(tenant.slug));
  const [editing, setEditing] = useState<Hub>();
  const [removing, setRemoving] = useState<Hub>();
  const [history, setHistory] = useState<Hub>();
  const [opened, dialog] = useDisclosure(false);
  const edit = (hub: Hub | undefined) => {
    setEditing(hub);
    dialog.open();
  };
  const newHub = (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={() => edit(undefined)}>
      New hub
    </Button>
  );
  const list = hubs.data?.hubs ?? [];

  return (
    <Page
      title="Hubs"
      description="A hub is what clients connect to. Any name works at once with the defaults; create one here to give it settings of its own."
      actions={newHub}
    >
      {hubs.isError ? (
        <ErrorState error={hubs.error} what="the hubs" onRetry={() => void hubs.refetch()} />
      ) : (
        <Panel flush={list.length > 0}>
          {hubs.isPending && <SkeletonRows rows={3} height={48} />}
          {hubs.isSuccess && list.length === 0 && (
            <EmptyState icon={<Waypoints size={22} />} title="No hubs yet" action={newHub}>
              Clients may connect to any hub name already. Create a hub to choose who answers its invocations, its
              timeouts and the origins it accepts.
            </EmptyState>
          )}
          {list.length > 0 && <HubTable hubs={list} onEdit={edit} onHistory={setHistory} onRemove={setRemoving} />}
        </Panel>
      )}
      <Panel title="What “auto” does">
        <Text c="dimmed" maw="72ch">
          With <strong>auto</strong>, an invocation goes to your app server while one is connected, else to your
          upstream webhook when one is set. With neither, the hub only broadcasts: clients receive what you publish,
          and an invocation gets an error that names what to set up. You can begin with REST alone and add a server
          later, without touching this page.
        </Text>
      </Panel>
      {list.some(({ upstream }) => upstream) && <DeliveriesPanel tenant={tenant} hubs={list} />}
      {list.length > 0 && mayCreateToken(tenant.role) && <PresencePanel key={tenant.slug} tenant={tenant} hubs={list} />}
      <HubDialog tenant={tenant} hub={editing} opened={opened} onClose={dialog.close} />
      <HistoryDialog
        tenant={tenant}
        hub={history}
        changes={mayCreateToken(tenant.role)}
        onClose={() => setHistory(undefined)}
      />
      <RemoveDialog tenant={tenant} hub={removing} onClose={() => setRemoving(undefined)} />
    </Page>
  );
}

interface TableProps {
  hubs: readonly Hub[];
  onEdit: (hub: Hub) => void;
  onHistory: (hub: Hub) => void;
  onRemove: (hub: Hub) => void;
}

function HubTable({ hubs, onEdit, onHistory, onRemove }: TableProps) {
  return (
    <WideTable label="Hubs">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Name</Table.Th>
            <Table.Th>Handler</Table.Th>
            <Table.Th className={secondaryCell}>Keep-alive</Table.Th>
            <Table.Th className={secondaryCell}>Client timeout</Table.Th>
            <Table.Th className={secondaryCell}>Origins</Table.Th>
            <Table.Th>
              <VisuallyHidden>Actions</VisuallyHidden>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody className="tabular">
          {hubs.map((hub) => (
            <Table.Tr key={hub.name}>
              <Table.Td>
                <span className={classes["name"]}>
                  {hub.name}
                  <CopyButton value={hub.client_url} what={`client address of ${hub.name}`} />
                  {hub.implicit && <Tag tone="neutral">defaults</Tag>}
                </span>
              </Table.Td>
              <Table.Td>
                <span className={classes["name"]}>
                  <Tag tone={hub.handler === "auto" ? "neutral" : "good"}>{handlerLabel(hub.handler)}</Tag>
                  {hub.upstream && hub.handler !== "upstream" && <Tag tone="neutral">upstream set</Tag>}
                </span>
              </Table.Td>
              <Table.Td className={secondaryCell}>{hub.keep_alive_seconds} s</Table.Td>
              <Table.Td className={secondaryCell}>{hub.client_timeout_seconds} s</Table.Td>
              <Table.Td className={secondaryCell}>{hub.allowed_origins.length === 0 ? "Any" : hub.allowed_origins.join(", ")}</Table.Td>
              <Table.Td ta="right">
                <span className={classes["actions"]}>
                  <ActionIcon variant="subtle" color="gray" aria-label={`Edit ${hub.name}`} onClick={() => onEdit(hub)}>
                    <Pencil size={16} aria-hidden />
                  </ActionIcon>
                  <ActionIcon variant="subtle" color="gray" aria-label={`Versions of ${hub.name}`} onClick={() => onHistory(hub)}>
                    <History size={16} aria-hidden />
                  </ActionIcon>
                  {!hub.implicit && (
                    <ActionIcon
                      variant="subtle"
                      color="gray"
                      aria-label={`Remove settings of ${hub.name}`}
                      onClick={() => onRemove(hub)}
                    >
                      <Trash2 size={16} aria-hidden />
                    </ActionIcon>
                  )}
                </span>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
    </WideTable>
  );
}

interface RemoveProps {
  tenant: Tenant;
  hub: Hub | undefined;
  onClose: () => void;
}

function RemoveDialog({ tenant, hub, onClose }: RemoveProps) {
  const queryClient = useQueryClient();
  const remove = query.useMutation("delete", "/v1/tenants/{tenant}/hubs/{hub}", {
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: hubsQuery(tenant.slug).queryKey });
      onClose();
    },
  });
  return (
    <Modal opened={hub !== undefined} onClose={onClose} centered title={`Remove the settings of ${hub?.name ?? ""}?`}>
      <Stack>
        <Text>Clients may still connect to this name; it has the defaults again.</Text>
        <FormAlert message={remove.isError ? toProblem(remove.error).message : undefined} />
        <div className={classes["buttons"]}>
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button
            color="red"
            loading={remove.isPending}
            onClick={() => hub && remove.mutate({ params: { path: { tenant: tenant.slug, hub: hub.name } } })}
          >
            Remove settings
          </Button>
        </div>
      </Stack>
    </Modal>
  );
}
