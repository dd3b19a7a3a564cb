import { Button, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";

import { mayManage } from "@/shared/access";
import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { tenantQuery, tenantsQuery } from "@/shared/api/queries";
import type { Environment, Tenant } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { CopyField } from "@/shared/ui/CopyField";
import { Page, Panel } from "@/shared/ui/Page";
import { FormAlert } from "@/shared/ui/states";
import { DangerPanel } from "./DangerPanel";
import { DomainsPanel } from "./DomainsPanel";

/** What a tenant is called and is for, its domains, and its end. */
export function SettingsPage({ tenant, onDeleted }: { tenant: Tenant; onDeleted: () => void }) {
  useDocumentTitle("Settings", tenant.name);
  const manages = mayManage(tenant.role);
  return (
    <Page title="Settings" description="What this tenant is called and is for, under which addresses it is reached, and its end.">
      <Panel title="Tenant">
        <Stack>
          <CopyField label="Tenant id" value={tenant.id} />
          <CopyField label="Endpoint" value={tenant.endpoint} />
          {manages ? <TenantForm tenant={tenant} /> : <Text>This is a {tenant.environment} tenant.</Text>}
        </Stack>
      </Panel>
      <DomainsPanel tenant={tenant} manages={manages} />
      {manages && <DangerPanel tenant={tenant} onDeleted={onDeleted} />}
    </Page>
  );
}

const environments: { value: Environment; label: string }[] = [
  { value: "development", label: "Development" },
  { value: "production", label: "Production" },
];

function TenantForm({ tenant }: { tenant: Tenant }) {
  const queryClient = useQueryClient();
  const form = useForm<{ name: string; environment: Environment }>({
    initialValues: { name: tenant.name, environment: tenant.environment },
    validate: { name: (name) => (name.trim() ? null : "Give the tenant a name.") },
  });
  const names = { name: "name", environment: "environment" };
  const update = query.useMutation("patch", "/v1/tenants/{tenant}", {
    onSuccess: async (changed) => {
      queryClient.setQueryData(tenantQuery(tenant.slug).queryKey, changed);
      form.setInitialValues({ name: changed.name, environment: changed.environment });
      form.reset();
      notifications.show({ message: "Saved" });
      await queryClient.invalidateQueries({ queryKey: tenantsQuery().queryKey });
    },
    onError: (error) => form.setErrors(formProblem(error, names).fields),
  });
  return (
    <form
      noValidate
      onSubmit={form.onSubmit(({ name, environment }) =>
        update.mutate({ params: { path: { tenant: tenant.slug } }, body: { name: name.trim(), environment } }),
      )}
    >
      <Stack>
        <FormAlert message={update.isError ? formProblem(update.error, names).rest : undefined} />
        <TextInput label="Name" maxLength={100} {...form.getInputProps("name")} />
        <Select
          label="Environment"
          description="Production can't have the permissions of the demo and tells nobody why a token isn't good. Development says so to whoever has a key."
          data={environments}
          allowDeselect={false}
          {...form.getInputProps("environment")}
        />
        <Group justify="flex-end">
          <Button type="submit" loading={update.isPending} disabled={!form.isDirty()}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
