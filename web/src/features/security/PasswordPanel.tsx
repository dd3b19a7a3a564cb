import { Button, PasswordInput, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";

import { checkNewPassword, minPassword } from "@/shared/lib/credentials";
import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { Panel } from "@/shared/ui/Page";
import { FormAlert } from "@/shared/ui/states";

const fields = { current_password: "current", new_password: "password" } as const;

/** Changes the password. */
export function PasswordPanel() {
  const form = useForm({
    initialValues: { current: "", password: "" },
    validate: { current: (value) => (value ? null : "Enter your present password."), password: checkNewPassword },
  });
  const change = query.useMutation("put", "/v1/user/password", {
    onSuccess: () => form.reset(),
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });
  return (
    <Panel title="Password" description="A new one ends all your other sessions.">
      <form
        noValidate
        onSubmit={form.onSubmit(({ current, password }) =>
          change.mutate({ body: { current_password: current, new_password: password } }),
        )}
      >
        <Stack maw={420} align="stretch">
          <FormAlert message={change.isError ? formProblem(change.error, fields).rest : undefined} />
          {change.isSuccess && <Text role="status">Your password is changed.</Text>}
          <PasswordInput label="Present password" autoComplete="current-password" {...form.getInputProps("current")} />
          <PasswordInput
            label="New password"
            description={`At least ${minPassword} characters`}
            autoComplete="new-password"
            maxLength={128}
            {...form.getInputProps("password")}
          />
          <div>
            <Button type="submit" variant="default" loading={change.isPending}>
              Change password
            </Button>
          </div>
        </Stack>
      </form>
    </Panel>
  );
}
