import { Button, Group, Modal, Select, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";

import { mayGive } from "@/shared/access";
import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { invitationsQuery } from "@/shared/api/queries";
import type { Role } from "@/shared/api/types";
import { checkEmail } from "@/shared/lib/credentials";
import { FormAlert } from "@/shared/ui/states";

const fields = { email: "email", role: "role" } as const;

interface Props {
  account: string;
  /** Of whoever invites. */
  role: Role;
  opened: boolean;
  onClose: () => void;
}

/** Asks whom to invite, and as what. */
export function InviteDialog({ account, role, opened, onClose }: Props) {
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: { email: "", role: "developer" as Role },
    validate: { email: checkEmail },
  });
  const invite = query.useMutation("post", "/v1/accounts/{account}/invitations", {
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: invitationsQuery(account).queryKey });
      close();
    },
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });
  const close = () => {
    onClose();
    form.reset();
    invite.reset();
  };
  return (
    <Modal opened={opened} onClose={close} title="Invite somebody" centered>
      <form
        noValidate
        onSubmit={form.onSubmit(({ email, role: given }) =>
          invite.mutate({ params: { path: { account } }, body: { email: email.trim(), role: given } }),
        )}
      >
        <Stack>
          <FormAlert message={invite.isError ? formProblem(invite.error, fields).rest : undefined} />
          <TextInput label="Email" type="email" data-autofocus {...form.getInputProps("email")} />
          <Select
            label="Role"
            description={mayGive(role).find(({ value }) => value === form.values.role)?.meaning}
            data={mayGive(role).map(({ value, label }) => ({ value, label }))}
            allowDeselect={false}
            {...form.getInputProps("role")}
          />
          <Group justify="flex-end">
            <Button type="submit" loading={invite.isPending}>
              Send invitation
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
