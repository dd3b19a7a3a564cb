import { Button, PasswordInput, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";

import { formProblem, toProblem } from "@/shared/api/problem";
import { checkEmail } from "@/shared/lib/credentials";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { query } from "../api/client";
import { sessionQuery } from "../api/queries";
import { checkCode, cleanCode } from "./code";
import { OperatorFrame } from "./OperatorFrame";

const fields = { email: "email", password: "password", code: "code" } as const;

/** Signs an operator in: address, password and code at once, so that nothing tells which was wrong. */
export function SignInPage({ onSignedIn }: { onSignedIn: () => void }) {
  useDocumentTitle("Sign in", "Operators");
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: { email: "", password: "", code: "" },
    validate: { email: checkEmail, password: (value) => (value ? null : "Enter your password."), code: checkCode },
  });
  const signIn = query.useMutation("post", "/operator/v1/session", {
    meta: { keepsSession: true },
    onSuccess: (session) => {
      queryClient.setQueryData(sessionQuery().queryKey, session);
      onSignedIn();
    },
    onError: (refused) => {
      form.setErrors(formProblem(refused, fields).fields);
      form.setFieldValue("code", ""); // each is good once
    },
  });
  return (
    <OperatorFrame title="Sign in">
      <form
        noValidate
        onSubmit={form.onSubmit(({ email, password, code }) =>
          signIn.mutate({ body: { email: email.trim(), password, code: cleanCode(code) } }),
        )}
      >
        <Stack>
          <FormAlert message={signIn.isError ? refusal(signIn.error) : undefined} />
          <TextInput label="Email" type="email" autoComplete="username" autoFocus size="md" {...form.getInputProps("email")} />
          <PasswordInput label="Password" autoComplete="current-password" size="md" {...form.getInputProps("password")} />
          <TextInput
            label="Code"
            description="From your authenticator app"
            inputMode="numeric"
            autoComplete="one-time-code"
            maxLength={16}
            size="md"
            {...form.getInputProps("code")}
          />
          <Button type="submit" size="md" loading={signIn.isPending}>
            Sign in
          </Button>
        </Stack>
      </form>
    </OperatorFrame>
  );
}

function refusal(error: unknown): string | undefined {
  const problem = toProblem(error);
  // Here 401 means what was typed, not that a session ended.
  return problem.status === 401 ? problem.message : formProblem(error, fields).rest;
}
