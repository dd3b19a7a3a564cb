import { Button, Group, Modal, Select, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQuery, useQueryClient } from "@tanstack/react-query";

import { accountsForTenants } from "@/shared/access";
import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { sessionQuery, tenantQuery, tenantsQuery } from "@/shared/api/queries";
import { setFreshKey } from "@/shared/lib/freshKeys";
import { FormAlert } from "@/shared/ui/states";

interface Props {
  opened: boolean;
  onClose: () => void;
  onCreated: (slug: string) => void;
}

/** Asks for the name of a new tenant and creates it. */
export function CreateTenantDialog({ opened, onClose, onCreated }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title="New tenant" centered>
      <CreateTenantForm
        onCreated={(slug) => {
          onClose();
          onCreated(slug);
        }}
      />
    </Modal>
  );
}

/** The form by itself, for the page of an account without tenants. */
export function CreateTenantForm({ onCreated }: { onCreated: (slug: string) => void }) {
  const queryClient = useQueryClient();
  const { data: session } = useQuery(sessionQuery());
  const accounts = accountsForTenants(session?.accounts ?? []);
  const several = (session?.accounts.length ?? 0) > 1;
  const form = useForm({
    initialValues: { name: "", slug: "", account: accounts[0]?.id ?? "" },
    validate: { name: (name) => (name.trim() ? null : "Give the tenant a name.") },
  });
  const create = query.useMutation("post", "/v1/tenants", {
    onSuccess: async ({ tenant, key }) => {
      queryClient.setQueryData(tenantQuery(tenant.slug).queryKey, tenant);
      setFreshKey(queryClient, tenant.slug, key);
      await queryClient.invalidateQueries({ queryKey: tenantsQuery().queryKey });
      onCreated(tenant.slug);
    },
    onError: (error) => form.setErrors(formProblem(error, { name: "name", slug: "slug" }).fields),
  });
  const rest = create.isError ? formProblem(create.error, { name: "name", slug: "slug" }).rest : undefined;

  return (
    <form
      noValidate
      onSubmit={form.onSubmit(({ name, slug, account }) =>
        create.mutate({
          body: {
            name: name.trim(),
            ...(slug.trim() && { slug: slug.trim() }),
            ...(several && account && { account_id: account }),
          },
        }),
      )}
    >
      <Stack>
        <FormAlert message={rest} />
        {several && accounts.length > 0 && (
          <Select
            label="Account"
            data={accounts.map(({ id, name }) => ({ value: id, label: name }))}
            allowDeselect={false}
            {...form.getInputProps("account")}
          />
        )}
        <TextInput label="Name" data-autofocus maxLength={100} {...form.getInputProps("name")} />
        <TextInput
          label="Slug"
          description="Part of the tenant's address. Leave it empty to have one made from the name."
          placeholder="acme"
          maxLength={40}
          {...form.getInputProps("slug")}
        />
        <Group justify="flex-end">
          <Button type="submit" loading={create.isPending}>
            Create tenant
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
