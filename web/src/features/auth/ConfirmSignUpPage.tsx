import { Button, PasswordInput, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQueryClient } from "@tanstack/react-query";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { enterAsNew } from "./enterAsNew";

const fields = { password: "password" } as const;

/**
 * Where the link of the sign-up mail leads. It takes a click: programs that open
 * links in mails must not use the token up. In another browser than the one that
 * signed up the api asks for the password, too.
 */
export function ConfirmSignUpPage({ token, onSignedUp }: { token: string; onSignedUp: (tenant: string) => void }) {
  useDocumentTitle("Confirm your email address");
  const queryClient = useQueryClient();
  const form = useForm({ initialValues: { password: "" } });
  const confirm = query.useMutation("post", "/v1/signup/confirmation", {
    meta: { keepsSession: true },
    onSuccess: (made) => onSignedUp(enterAsNew(queryClient, made)),
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });
  const problem = confirm.isError ? formProblem(confirm.error, fields) : undefined;
  const asked = form.isTouched("password") || form.errors["password"] !== undefined;
  return (
    <AuthFrame title="Confirm your email address" description="Your first tenant, hub and keys are made then.">
      {token ? (
        <form
          noValidate
          onSubmit={form.onSubmit(({ password }) =>
            confirm.mutate({ body: { token, ...(password !== "" && { password }) } }),
          )}
        >
          <Stack>
            <FormAlert message={problem?.rest} />
            {asked && (
              <PasswordInput
                label="Password"
                autoComplete="current-password"
                maxLength={128}
                size="md"
                {...form.getInputProps("password")}
              />
            )}
            <Button type="submit" size="md" loading={confirm.isPending}>
              Confirm and start
            </Button>
          </Stack>
        </form>
      ) : (
        <Text>This link is incomplete. Open the one in the mail again.</Text>
      )}
    </AuthFrame>
  );
}
