import { Button, Group, Modal, MultiSelect, SegmentedControl, Select, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { useState } from "react";

import { mayManage, roles } from "@/shared/access";
import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import type { Account, ApiTokenScope, Role } from "@/shared/api/types";
import { CopyField } from "@/shared/ui/CopyField";
import { Notice } from "@/shared/ui/Notice";
import { FormAlert } from "@/shared/ui/states";
import { accountTokensQuery, ownTokensQuery } from "./queries";

const fields = { name: "name", role: "role", scopes: "scopes", expires_in_days: "days" } as const;

const scopes: readonly ApiTokenScope[] = [
  "tenants:read", "tenants:write", "hubs:write", "keys:read", "keys:write", "tokens:mint", "tokens:revoke",
  "deliveries:read", "deliveries:replay", "usage:read", "members:read", "members:write", "budget:write", "audit:read",
];

const lives = [
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
  { value: "365", label: "A year" },
  { value: "", label: "No end" },
];

/** Makes an API token and shows its secret once. */
export function CreateTokenDialog({ account, opened, onClose }: { account: Account; opened: boolean; onClose: () => void }) {
  const queryClient = useQueryClient();
  const [secret, setSecret] = useState<string>();
  const form = useForm({
    initialValues: { kind: "personal", name: "", role: "developer" as Role, scopes: [] as ApiTokenScope[], days: "90" },
    validate: { name: (name) => (name.trim() ? null : "Give the token a name.") },
  });
  const handlers = {
    onSuccess: async ({ secret: made }: { secret: string }) => {
      setSecret(made);
      await queryClient.invalidateQueries({ queryKey: accountTokensQuery(account.id).queryKey });
      await queryClient.invalidateQueries({ queryKey: ownTokensQuery().queryKey });
    },
    onError: (error: unknown) => form.setErrors(formProblem(error, fields).fields),
  };
  const personal = query.useMutation("post", "/v1/api-tokens", handlers);
  const service = query.useMutation("post", "/v1/accounts/{account}/api-tokens", handlers);
  const create = form.values.kind === "service" ? service : personal;
  // The secret stays readable until the dialog is dismissed on purpose.
  const close = () => {
    onClose();
    setSecret(undefined);
    form.reset();
    personal.reset();
    service.reset();
  };
  const submit = form.onSubmit(({ kind, name, role, scopes: chosen, days }) => {
    const token = {
      name: name.trim(),
      ...(chosen.length > 0 && { scopes: chosen }),
      ...(days && { expires_in_days: Number(days) }),
    };
    if (kind === "service") service.mutate({ params: { path: { account: account.id } }, body: { ...token, role } });
    else personal.mutate({ body: { ...token, account_id: account.id } });
  });

  return (
    <Modal
      opened={opened}
      onClose={close}
      title={secret ? "Your new API token" : "New API token"}
      centered
      size="lg"
      closeOnClickOutside={!secret}
    >
      {secret ? (
        <Stack>
          <Notice tone="warn" icon={<KeyRound size={18} />} title="Copy it now: it is shown only once">
            Send it as a bearer: <code>Authorization: Bearer …</code>
          </Notice>
          <CopyField label="API token" value={secret} wrap />
          <Button onClick={close}>Done</Button>
        </Stack>
      ) : (
        <form noValidate onSubmit={submit}>
          <Stack>
            <FormAlert message={create.isError ? formProblem(create.error, fields).rest : undefined} />
            {mayManage(account.role) && (
              <SegmentedControl
                aria-label="Kind"
                data={[
                  { value: "personal", label: "Personal" },
                  { value: "service", label: "Service" },
                ]}
                {...form.getInputProps("kind")}
              />
            )}
            <TextInput label="Name" data-autofocus maxLength={100} {...form.getInputProps("name")} />
            {form.values.kind === "service" && (
              <Select
                label="Role"
                description="It stays when you leave the account."
                data={roles.filter(({ value }) => value !== "owner").map(({ value, label }) => ({ value, label }))}
                allowDeselect={false}
                {...form.getInputProps("role")}
              />
            )}
            <MultiSelect
              label="Scopes"
              description="None chosen: all that the role allows."
              data={[...scopes]}
              {...form.getInputProps("scopes")}
            />
            <Select label="Good for" data={lives} allowDeselect={false} {...form.getInputProps("days")} />
            <Group justify="flex-end">
              <Button type="submit" loading={create.isPending}>
                Create token
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}
