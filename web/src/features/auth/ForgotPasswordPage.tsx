import { Anchor, Button, Stack, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { Link } from "@tanstack/react-router";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { checkEmail } from "@/shared/lib/credentials";
import { SentPage } from "./SentPage";

/** Asks for a mail with which a new password can be set. */
export function ForgotPasswordPage() {
  useDocumentTitle("Forgot your password");
  const form = useForm({ initialValues: { email: "" }, validate: { email: checkEmail } });
  const ask = query.useMutation("post", "/v1/password-reset", {
    meta: { keepsSession: true },
    onError: (error) => form.setErrors(formProblem(error, { email: "email" }).fields),
  });
  if (ask.isSuccess) {
    return <SentPage email={form.getValues().email}>If there is a user with this address, a link is on its way to</SentPage>;
  }
  return (
    <AuthFrame title="Forgot your password?" description="We send you a link with which you set a new one.">
      <form noValidate onSubmit={form.onSubmit((body) => ask.mutate({ body }))}>
        <Stack>
          <FormAlert message={ask.isError ? formProblem(ask.error, { email: "email" }).rest : undefined} />
          <TextInput
            label="Email"
            type="email"
            autoComplete="username"
            autoFocus
            size="md"
            {...form.getInputProps("email")}
          />
          <Button type="submit" size="md" loading={ask.isPending}>
            Send the link
          </Button>
          <Anchor component={Link} to="/sign-in" underline="always" size="sm">
            Back to signing in
          </Anchor>
        </Stack>
      </form>
    </AuthFrame>
  );
}
