import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";

import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { sessionQuery } from "@/shared/api/queries";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { checkEmail } from "./rules";

const fields = { email: "email", password: "password" } as const;

/** Signs a user in. */
export function SignInPage({ onSignedIn }: { onSignedIn: () => void }) {
  useDocumentTitle("Sign in");
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: { email: "", password: "" },
    validate: { email: checkEmail, password: (value) => (value ? null : "Enter your password.") },
  });
  const signIn = query.useMutation("post", "/v1/session", {
    meta: { keepsSession: true },
    onSuccess: (session) => {
      queryClient.setQueryData(sessionQuery().queryKey, session);
      onSignedIn();
    },
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });

  return (
    <AuthFrame title="Sign in">
      <form noValidate onSubmit={form.onSubmit((body) => signIn.mutate({ body }))}>
        <Stack>
          <FormAlert message={signIn.isError ? refusal(signIn.error) : undefined} />
          <TextInput
            label="Email"
            type="email"
            autoComplete="username"
            autoFocus
            size="md"
            {...form.getInputProps("email")}
          />
          <PasswordInput
            label="Password"
            autoComplete="current-password"
            size="md"
            {...form.getInputProps("password")}
          />
          <Button type="submit" size="md" loading={signIn.isPending}>
            Sign in
          </Button>
          <Text size="sm" c="dimmed">
            New here?{" "}
            <Anchor component={Link} to="/sign-up" underline="always">
              Create an account
            </Anchor>
          </Text>
        </Stack>
      </form>
    </AuthFrame>
  );
}

function refusal(error: unknown): string | undefined {
  // Here 401 means the password, not that a session ended.
  if (toProblem(error).status === 401) return "This email and password don't match an account.";
  return formProblem(error, fields).rest;
}
