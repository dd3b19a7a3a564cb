import { Button, Group, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";

import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { tenantQuery } from "@/shared/api/queries";
import type { Domain, Tenant } from "@/shared/api/types";
import { ConfirmDialog } from "@/shared/ui/ConfirmDialog";
import { CopyField } from "@/shared/ui/CopyField";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import classes from "./Settings.module.css";

const domainsQuery = (tenant: string) =>
  query.queryOptions("get", "/v1/tenants/{tenant}/domains", { params: { path: { tenant } } });

/** Renews what shows a tenant's domains. */
function useRenew(tenant: Tenant) {
  const queryClient = useQueryClient();
  return async () => {
    await queryClient.invalidateQueries({ queryKey: domainsQuery(tenant.slug).queryKey });
    await queryClient.invalidateQueries({ queryKey: tenantQuery(tenant.slug).queryKey });
  };
}

/** The domains of a tenant's own, each with the record that verifies it. */
export function DomainsPanel({ tenant, manages }: { tenant: Tenant; manages: boolean }) {
  const domains = useQuery(domainsQuery(tenant.slug));
  return (
    <Panel
      title="Domains"
      description="Serve this tenant under a host name of your own. A DNS record shows that it is yours; then point the name to the service, and let your certificate have it."
    >
      <Stack>
        {domains.isPending && <SkeletonRows rows={1} />}
        {domains.isError && <ErrorState error={domains.error} what="the domains" onRetry={() => void domains.refetch()} />}
        {domains.data?.domains.map((domain) => (
          <DomainRow key={domain.id} tenant={tenant} domain={domain} manages={manages} />
        ))}
        {domains.data?.domains.length === 0 && !manages && <Text c="dimmed">There are none.</Text>}
        {manages && <AddDomain tenant={tenant} />}
      </Stack>
    </Panel>
  );
}

function DomainRow({ tenant, domain, manages }: { tenant: Tenant; domain: Domain; manages: boolean }) {
  const renew = useRenew(tenant);
  const [removing, dialog] = useDisclosure(false);
  const params = { path: { tenant: tenant.slug, domain: domain.id } };
  const verify = query.useMutation("post", "/v1/tenants/{tenant}/domains/{domain}/verify", { onSuccess: renew });
  const remove = query.useMutation("delete", "/v1/tenants/{tenant}/domains/{domain}", {
    onSuccess: async () => {
      dialog.close();
      await renew();
    },
  });
  return (
    <div className={classes["domain"]} role="group" aria-label={domain.domain}>
      <Group justify="space-between">
        <Group gap="sm">
          <Text fw={550}>{domain.domain}</Text>
          {domain.verified ? <Tag tone="good">verified</Tag> : <Tag tone="warn">not verified</Tag>}
          {domain.verified_at && (
            <Text c="dimmed" size="sm">
              <RelativeTime at={domain.verified_at} />
            </Text>
          )}
        </Group>
        {manages && (
          <Group gap="xs">
            {!domain.verified && (
              <Button size="sm" loading={verify.isPending} onClick={() => verify.mutate({ params })}>
                Verify now
              </Button>
            )}
            <Button size="sm" variant="default" aria-label={`Remove ${domain.domain}`} onClick={dialog.open}>
              Remove
            </Button>
          </Group>
        )}
      </Group>
      {!domain.verified && (
        <Stack mt="sm" gap="xs">
          <Text size="sm">Add this {domain.record.type} record to the DNS of the domain:</Text>
          <CopyField label="Name" value={domain.record.name} />
          <CopyField label="Value" value={domain.record.value} wrap />
          <FormAlert message={verify.isError ? toProblem(verify.error).message : undefined} />
        </Stack>
      )}
      <ConfirmDialog
        opened={removing}
        onClose={dialog.close}
        title={`Remove ${domain.domain}?`}
        action="Remove domain"
        pending={remove.isPending}
        error={remove.error}
        onConfirm={() => remove.mutate({ params })}
      >
        {domain.verified ? "Requests under it are refused within a second." : "Its record verifies nothing any more."}
      </ConfirmDialog>
    </div>
  );
}

function AddDomain({ tenant }: { tenant: Tenant }) {
  const renew = useRenew(tenant);
  const form = useForm({
    initialValues: { domain: "" },
    validate: { domain: (domain) => (domain.trim() ? null : "Give a host name.") },
  });
  const add = query.useMutation("post", "/v1/tenants/{tenant}/domains", {
    onSuccess: async () => {
      form.reset();
      await renew();
    },
    onError: (error) => form.setErrors(formProblem(error, { domain: "domain" }).fields),
  });
  return (
    <form
      noValidate
      onSubmit={form.onSubmit(({ domain }) =>
        add.mutate({ params: { path: { tenant: tenant.slug } }, body: { domain: domain.trim() } }),
      )}
    >
      <Stack gap="xs">
        <FormAlert message={add.isError ? formProblem(add.error, { domain: "domain" }).rest : undefined} />
        <Group align="flex-end">
          <TextInput label="Domain" placeholder="rt.example.com" maxLength={254} {...form.getInputProps("domain")} />
          <Button type="submit" variant="default" loading={add.isPending}>
            Add domain
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
