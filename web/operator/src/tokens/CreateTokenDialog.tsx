import { Button, Group, Modal, MultiSelect, Select, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";

import { formProblem } from "@/shared/api/problem";
import { CopyField } from "@/shared/ui/CopyField";
import { Notice } from "@/shared/ui/Notice";
import { FormAlert } from "@/shared/ui/states";
import { query } from "../api/client";
import { tokensQuery, type TokenScope } from "../api/queries";

const fields = { name: "name", scopes: "scopes", expires_in_days: "days" } as const;

const scopes: readonly TokenScope[] = [
  "operate:tenants:read", "operate:tenants:write", "operate:edges:read", "operate:edges:write", "operate:audit:read",
];

const lives = [
  { value: "7", label: "7 days" },
  { value: "30", label: "30 days" },
  { value: "90", label: "90 days" },
];

/** Makes an operator's token and shows its secret once. */
export function CreateTokenDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: { name: "", scopes: [] as TokenScope[], days: "30" },
    validate: {
      name: (name) => (name.trim() ? null : "Give the token a name."),
      scopes: (chosen) => (chosen.length > 0 ? null : "Choose what it is for."),
    },
  });
  const create = query.useMutation("post", "/operator/v1/tokens", {
    onSuccess: () => queryClient.invalidateQueries({ queryKey: tokensQuery().queryKey }),
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });
  // The secret stays readable until the dialog is dismissed on purpose.
  const close = () => {
    onClose();
    form.reset();
    create.reset();
  };
  const secret = create.data?.secret;
  return (
    <Modal opened={opened} onClose={close} title={secret ? "Your new token" : "New token"} centered size="lg" closeOnClickOutside={!secret}>
      {secret ? (
        <Stack>
          <Notice tone="warn" icon={<KeyRound size={18} />} title="Copy it now: it is shown only once">
            Send it as a bearer: <code>Authorization: Bearer …</code>
          </Notice>
          <CopyField label="Token" value={secret} wrap />
          <Button onClick={close}>Done</Button>
        </Stack>
      ) : (
        <form
          noValidate
          onSubmit={form.onSubmit(({ name, scopes: chosen, days }) =>
            create.mutate({ body: { name: name.trim(), scopes: chosen, expires_in_days: Number(days) } }),
          )}
        >
          <Stack>
            <FormAlert message={create.isError ? formProblem(create.error, fields).rest : undefined} />
            <TextInput label="Name" data-autofocus maxLength={100} {...form.getInputProps("name")} />
            <MultiSelect label="Scopes" data={[...scopes]} {...form.getInputProps("scopes")} />
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
