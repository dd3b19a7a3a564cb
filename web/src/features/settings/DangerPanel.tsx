import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { tenantQuery, tenantsQuery } from "@/shared/api/queries";
import type { Tenant } from "@/shared/api/types";
import { ConfirmDialog } from "@/shared/ui/ConfirmDialog";
import { Panel } from "@/shared/ui/Page";
import { FormAlert } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";

/** Suspends, resumes and deletes a tenant. */
export function DangerPanel({ tenant, onDeleted }: { tenant: Tenant; onDeleted: () => void }) {
  const queryClient = useQueryClient();
  const [suspending, suspendDialog] = useDisclosure(false);
  const [deleting, deleteDialog] = useDisclosure(false);
  const params = { path: { tenant: tenant.slug } };
  const keep = async (changed: Tenant) => {
    queryClient.setQueryData(tenantQuery(tenant.slug).queryKey, changed);
    suspendDialog.close();
    await queryClient.invalidateQueries({ queryKey: tenantsQuery().queryKey });
  };
  const suspend = query.useMutation("post", "/v1/tenants/{tenant}/suspend", { onSuccess: keep });
  const resume = query.useMutation("post", "/v1/tenants/{tenant}/resume", { onSuccess: keep });
  const suspended = tenant.status === "suspended";
  const imposed = tenant.suspended_by === "operator";
  return (
    <Panel title="Suspend or delete">
      <Stack>
        <Group justify="space-between">
          <div>
            <Group gap="sm">
              <Text fw={550}>{suspended ? "This tenant is suspended" : "Suspend this tenant"}</Text>
              {suspended && <Tag tone="warn">suspended</Tag>}
            </Group>
            <Text c="dimmed" size="sm" maw="60ch">
              {suspended
                ? `Nothing is served for it. All that it has is there: keys, hubs, history.${imposed ? " An operator of the service suspended it, and can resume it." : ""}`
                : "Connections are closed and keys refused within a second, until it is resumed. Nothing is lost."}
            </Text>
          </div>
          {suspended ? (
            <Button loading={resume.isPending} disabled={imposed} onClick={() => resume.mutate({ params })}>
              Resume
            </Button>
          ) : (
            <Button variant="default" onClick={suspendDialog.open}>
              Suspend
            </Button>
          )}
        </Group>
        <FormAlert message={resume.isError ? toProblem(resume.error).message : undefined} />
        <Group justify="space-between">
          <div>
            <Text fw={550}>Delete this tenant</Text>
            <Text c="dimmed" size="sm" maw="60ch">
              Its keys, hubs and messages are gone for good, and its address is free for others. What it has used stays
              in the ledger.
            </Text>
          </div>
          <Button color="red" variant="outline" onClick={deleteDialog.open}>
            Delete
          </Button>
        </Group>
      </Stack>
      <ConfirmDialog
        opened={suspending}
        onClose={suspendDialog.close}
        title={`Suspend ${tenant.name}?`}
        action="Suspend tenant"
        pending={suspend.isPending}
        error={suspend.error}
        onConfirm={() => suspend.mutate({ params })}
      >
        All of its connections are closed, and clients, app servers and backends are refused until it is resumed.
      </ConfirmDialog>
      <Modal opened={deleting} onClose={deleteDialog.close} title={`Delete ${tenant.name}?`} centered>
        <DeleteForm tenant={tenant} onDeleted={onDeleted} onCancel={deleteDialog.close} />
      </Modal>
    </Panel>
  );
}

function DeleteForm({ tenant, onDeleted, onCancel }: { tenant: Tenant; onDeleted: () => void; onCancel: () => void }) {
  const queryClient = useQueryClient();
  const [typed, setTyped] = useState("");
  const remove = query.useMutation("delete", "/v1/tenants/{tenant}", {
    onSuccess: async () => {
      // The list first: where one goes from here is chosen by it.
      await queryClient.invalidateQueries({ queryKey: tenantsQuery().queryKey });
      onDeleted();
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (typed === tenant.slug) remove.mutate({ params: { path: { tenant: tenant.slug } } });
      }}
    >
      <Stack>
        <Text>
          Its connections are closed within a second, and within a minute nothing of it is left to be read. This can't
          be taken back.
        </Text>
        <FormAlert message={remove.isError ? toProblem(remove.error).message : undefined} />
        <TextInput
          label={`Type ${tenant.slug} to confirm`}
          autoComplete="off"
          data-autofocus
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onCancel}>
            Cancel
          </Button>
          <Button type="submit" color="red" disabled={typed !== tenant.slug} loading={remove.isPending}>
            Delete tenant
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
