import { Button, PasswordInput, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { Link } from "@tanstack/react-router";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { checkNewPassword, minPassword } from "@/shared/lib/credentials";

/** Where the link of the reset mail leads. */
export function ResetPasswordPage({ token }: { token: string }) {
  useDocumentTitle("Set a new password");
  const form = useForm({ initialValues: { password: "" }, validate: { password: checkNewPassword } });
  const reset = query.useMutation("post", "/v1/password-reset/completion", {
    meta: { keepsSession: true },
    onError: (error) => form.setErrors(formProblem(error, { password: "password" }).fields),
  });
  if (reset.isSuccess) {
    return (
      <AuthFrame title="Your password is set">
        <Stack align="flex-start">
          <Text>All your sessions have ended. Sign in with the new password.</Text>
          <Button component={Link} to="/sign-in">
            Sign in
          </Button>
        </Stack>
      </AuthFrame>
    );
  }
  return (
    <AuthFrame title="Set a new password">
      {token ? (
        <form noValidate onSubmit={form.onSubmit(({ password }) => reset.mutate({ body: { token, password } }))}>
          <Stack>
            <FormAlert message={reset.isError ? formProblem(reset.error, { password: "password" }).rest : undefined} />
            <PasswordInput
              label="New password"
              description={`At least ${minPassword} characters`}
              autoComplete="new-password"
              autoFocus
              maxLength={128}
              size="md"
              {...form.getInputProps("password")}
            />
            <Button type="submit" size="md" loading={reset.isPending}>
              Set password
            </Button>
          </Stack>
        </form>
      ) : (
        <Text>This link is incomplete. Open the one in the mail again.</Text>
      )}
    </AuthFrame>
  );
}
