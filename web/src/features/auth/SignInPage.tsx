import { Anchor, Button, Checkbox, Divider, Group, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { LogIn } from "lucide-react";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { sessionQuery, signInOptionsQuery } from "@/shared/api/queries";
import type { Session } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { checkEmail, providerProblem } from "@/shared/lib/credentials";
import { SecondStepForm } from "./SecondStepForm";

const fields = { email: "email", password: "password" } as const;

interface Props {
  onSignedIn: () => void;
  /** Where to go afterwards, for the OpenID provider to lead back to. */
  next?: string | undefined;
  /** The first step was done elsewhere. */
  secondStep?: boolean;
  /** The code of what went wrong at the OpenID provider. */
  error?: string | undefined;
}

/** Signs a user in, in one step or two. */
export function SignInPage({ onSignedIn, next, secondStep = false, error }: Props) {
  useDocumentTitle("Sign in");
  const queryClient = useQueryClient();
  const [atCode, setAtCode] = useState(secondStep);
  const { data: options } = useQuery(signInOptionsQuery());
  const form = useForm({
    initialValues: { email: "", password: "", remember: false },
    validate: { email: checkEmail, password: (value) => (value ? null : "Enter your password.") },
  });
  const signedIn = (session: Session) => {
    queryClient.setQueryData(sessionQuery().queryKey, session);
    onSignedIn();
  };
  const signIn = query.useMutation("post", "/v1/session", {
    meta: { keepsSession: true },
    onSuccess: (answer) => ("second_factor" in answer ? setAtCode(true) : signedIn(answer)),
    onError: (refused) => form.setErrors(formProblem(refused, fields).fields),
  });
  const provider = query.useMutation("post", "/v1/session/oidc", {
    meta: { keepsSession: true },
    onSuccess: ({ url }) => window.location.assign(url),
  });

  if (atCode) {
    return (
      <AuthFrame title="Second step">
        <SecondStepForm onSignedIn={signedIn} onBack={() => setAtCode(false)} />
      </AuthFrame>
    );
  }
  const complaint = signIn.isError ? refusal(signIn.error) : provider.isError ? toProblem(provider.error).message : undefined;
  return (
    <AuthFrame title="Sign in">
      <form noValidate onSubmit={form.onSubmit((body) => signIn.mutate({ body }))}>
        <Stack>
          <FormAlert message={complaint ?? (error && !signIn.isPending ? providerProblem(error) : undefined)} />
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
          <Group justify="space-between">
            <Checkbox
              label="Stay signed in on this device"
              {...form.getInputProps("remember", { type: "checkbox" })}
            />
            <Anchor component={Link} to="/forgot-password" size="sm" underline="always">
              Forgot your password?
            </Anchor>
          </Group>
          <Button type="submit" size="md" loading={signIn.isPending}>
            Sign in
          </Button>
          {options?.oidc && (
            <>
              <Divider label="or" labelPosition="center" />
              <Button
                variant="default"
                size="md"
                leftSection={<LogIn size={18} aria-hidden />}
                loading={provider.isPending || provider.isSuccess}
                onClick={() =>
                  provider.mutate({ body: { remember: form.getValues().remember, ...(next && { next }) } })
                }
              >
                Continue with {options.oidc.name}
              </Button>
            </>
          )}
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
