import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { enterAsNew } from "./enterAsNew";
import { checkEmail, checkNewPassword, minPassword } from "@/shared/lib/credentials";
import { SentPage } from "./SentPage";

const fields = { email: "email", password: "password" } as const;

/** Creates an account; `onSignedUp` gets the slug of its first tenant. */
export function SignUpPage({ onSignedUp }: { onSignedUp: (tenant: string) => void }) {
  useDocumentTitle("Create an account");
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: { email: "", password: "" },
    validate: { email: checkEmail, password: checkNewPassword },
  });
  const signUp = query.useMutation("post", "/v1/signup", {
    meta: { keepsSession: true },
    // Without an answer's body the address has to be confirmed first.
    onSuccess: (made) => made && onSignedUp(enterAsNew(queryClient, made)),
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });

  if (signUp.isSuccess && !signUp.data) {
    return <SentPage email={form.getValues().email}>We sent a link with which you go on to</SentPage>;
  }
  return (
    <AuthFrame title="Create your account" description="Your first tenant, hub and keys are ready at once.">
      <form noValidate onSubmit={form.onSubmit((body) => signUp.mutate({ body }))}>
        <Stack>
          <FormAlert message={signUp.isError ? formProblem(signUp.error, fields).rest : undefined} />
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
            description={`At least ${minPassword} characters`}
            autoComplete="new-password"
            maxLength={128}
            size="md"
            {...form.getInputProps("password")}
          />
          <Button type="submit" size="md" loading={signUp.isPending}>
            Create account
          </Button>
          <Text size="sm" c="dimmed">
            Have an account?{" "}
            <Anchor component={Link} to="/sign-in" underline="always">
              Sign in
            </Anchor>
          </Text>
        </Stack>
      </form>
    </AuthFrame>
  );
}
