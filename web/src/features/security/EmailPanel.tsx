import { Button, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQuery } from "@tanstack/react-query";

import { checkEmail } from "@/shared/lib/credentials";
import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { sessionQuery } from "@/shared/api/queries";
import { Panel } from "@/shared/ui/Page";
import { FormAlert } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";

const fields = { email: "email", password: "password" } as const;

/** The user's address: confirmed or not, and changed. */
export function EmailPanel() {
  const { data: session } = useQuery(sessionQuery());
  const form = useForm({
    initialValues: { email: "", password: "" },
    validate: { email: checkEmail, password: (value) => (value ? null : "Enter your password.") },
  });
  const change = query.useMutation("post", "/v1/user/email", {
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });
  const resend = query.useMutation("post", "/v1/user/email/verification");
  const user = session?.user;
  return (
    <Panel
      title="Email"
      description={user?.email}
      aside={
        user &&
        (user.email_verified ? (
          <Tag tone="good">confirmed</Tag>
        ) : (
          <Group gap="xs">
            <Tag tone="warn">not confirmed</Tag>
            <Button size="xs" variant="default" loading={resend.isPending} disabled={resend.isSuccess} onClick={() => resend.mutate({})}>
              {resend.isSuccess ? "Mail sent" : "Send the mail again"}
            </Button>
          </Group>
        ))
      }
    >
      <form
        noValidate
        onSubmit={form.onSubmit(({ email, password }) => change.mutate({ body: { email: email.trim(), password } }))}
      >
        <Stack maw={420} align="stretch">
          <FormAlert
            message={
              change.isError
                ? formProblem(change.error, fields).rest
                : resend.isError
                  ? toProblem(resend.error).message
                  : undefined
            }
          />
          {change.isSuccess && (
            <Text role="status">A link is on its way to the new address. It changes when you open it.</Text>
          )}
          <TextInput label="New address" type="email" autoComplete="email" {...form.getInputProps("email")} />
          <PasswordInput label="Password" autoComplete="current-password" {...form.getInputProps("password")} />
          <div>
            <Button type="submit" variant="default" loading={change.isPending}>
              Change address
            </Button>
          </div>
        </Stack>
      </form>
    </Panel>
  );
}
