import { Button, Group, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";

import { formatAbsolute, formatCount } from "@/shared/lib/format";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { CopyField } from "@/shared/ui/CopyField";
import { Figure, Figures } from "@/shared/ui/Figures";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, SkeletonRows } from "@/shared/ui/states";
import { query } from "../api/client";
import { tenantQuery, type Tenant, type TenantDetails } from "../api/queries";
import { ReasonDialog } from "../ui/ReasonDialog";
import { LimitsPanel } from "./LimitsPanel";
import { StatusTag } from "./StatusTag";

/** How often the figures are read again while they are on the page. */
const refreshEvery = 5_000;

/** One tenant: what it is, its limits in force, and suspending it. */
export function TenantPage({ tenant: ref }: { tenant: string }) {
  const details = useQuery({ ...tenantQuery(ref), refetchInterval: refreshEvery });
  const tenant = details.data?.tenant;
  useDocumentTitle(tenant?.name ?? ref, "Operators");
  if (!details.data || !tenant) {
    return (
      <Page title={ref}>
        {details.isError ? (
          <ErrorState error={details.error} what="the tenant" onRetry={() => void details.refetch()} />
        ) : (
          <SkeletonRows rows={8} />
        )}
      </Page>
    );
  }
  return (
    <Page title={tenant.name} description={`Of the account ${tenant.account_name}.`} actions={<StatusTag tenant={tenant} />}>
      <Figures>
        <Figure label="Connections now" value={tenant.connections_now === undefined ? "unknown" : formatCount(tenant.connections_now)} />
        <Figure label="Plan" value={tenant.plan} note="of the account" />
        <Figure label="Environment" value={tenant.environment} />
        <Figure label="Made" value={<RelativeTime at={tenant.created_at} />} note={formatAbsolute(Date.parse(tenant.created_at))} />
      </Figures>
      <StatePanel tenant={tenant} />
      <LimitsPanel details={details.data} />
      <Panel title="Names">
        <Stack>
          <CopyField label="Slug" value={tenant.slug} />
          <CopyField label="Tenant id" value={tenant.id} />
          <CopyField label="Account id" value={tenant.account_id} />
        </Stack>
      </Panel>
    </Page>
  );
}

function StatePanel({ tenant }: { tenant: Tenant }) {
  const queryClient = useQueryClient();
  const [asking, dialog] = useDisclosure(false);
  const [resuming, resumeDialog] = useDisclosure(false);
  const onSuccess = async (after: Tenant) => {
    dialog.close();
    resumeDialog.close();
    const key = tenantQuery(tenant.id).queryKey;
    queryClient.setQueryData<TenantDetails>(key, (before) => before && { ...before, tenant: after });
    await queryClient.invalidateQueries({ queryKey: ["get", "/operator/v1/tenants"] });
  };
  const suspend = query.useMutation("post", "/operator/v1/tenants/{tenant}/suspend", { onSuccess });
  const resume = query.useMutation("post", "/operator/v1/tenants/{tenant}/resume", { onSuccess });
  const params = { path: { tenant: tenant.id } };
  const suspended = tenant.status === "suspended";
  const imposed = tenant.suspended_by === "operator";
  return (
    <Panel title="Suspension">
      <Group justify="space-between" align="flex-start">
        <div>
          <Text fw={550}>
            {!suspended && "It is served"}
            {suspended && (imposed ? "An operator suspended it" : "Its account suspended it")}
            {suspended && tenant.suspended_at && (
              <>
                {" "}
                <RelativeTime at={tenant.suspended_at} />
              </>
            )}
          </Text>
          <Text c="dimmed" size="sm" maw="60ch" style={{ overflowWrap: "anywhere" }}>
            {suspended
              ? (tenant.suspended_reason ?? "It gave no reason. Its account can resume it.")
              : "Suspended, its connections are closed and keys refused within a second. Nothing of it is lost."}
          </Text>
        </div>
        <Group gap="xs">
          {!imposed && (
            <Button variant="default" onClick={dialog.open}>
              {suspended ? "Suspend as an operator" : "Suspend"}
            </Button>
          )}
          {suspended && <Button onClick={resumeDialog.open}>Resume</Button>}
        </Group>
      </Group>
      <ReasonDialog
        opened={asking}
        onClose={() => {
          dialog.close();
          suspend.reset();
        }}
        title={`Suspend ${tenant.name}?`}
        readers="The customer reads it, with your name."
        action="Suspend tenant"
        harsh
        pending={suspend.isPending}
        error={suspend.error}
        onConfirm={(reason) => suspend.mutate({ params, body: { reason } })}
      >
        All of its connections are closed, and clients, app servers and backends are refused. Its account can&apos;t resume
        or delete it, and gets no new tenants meanwhile.
      </ReasonDialog>
      <ReasonDialog
        opened={resuming}
        onClose={() => {
          resumeDialog.close();
          resume.reset();
        }}
        title={`Resume ${tenant.name}?`}
        readers="The customer reads it, with your name."
        action="Resume tenant"
        pending={resume.isPending}
        error={resume.error}
        onConfirm={(reason) => resume.mutate({ params, body: { reason } })}
      >
        It is served again on every edge within a second.
      </ReasonDialog>
    </Panel>
  );
}
