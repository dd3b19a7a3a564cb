import { Anchor, Button, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { Link } from "@tanstack/react-router";
import { useState } from "react";

import { formProblem, toProblem } from "@/shared/api/problem";
import { checkNewPassword } from "@/shared/lib/credentials";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { CopyField } from "@/shared/ui/CopyField";
import { QrCode } from "@/shared/ui/QrCode";
import { FormAlert } from "@/shared/ui/states";
import { query } from "../api/client";
import { checkCode, cleanCode, tokenOf } from "./code";
import { OperatorFrame } from "./OperatorFrame";

const fields = { password: "password", code: "code" } as const;

/** Takes the password of who has a link, and sets the authenticator app up. */
export function SetUpPage() {
  useDocumentTitle("Set up", "Operators");
  const [token] = useState(() => tokenOf(window.location.hash));
  const form = useForm({
    initialValues: { password: "", code: "" },
    validate: { password: checkNewPassword },
  });
  const onError = (error: unknown) => form.setErrors(formProblem(error, fields).fields);
  const begin = query.useMutation("post", "/operator/v1/set-up", { onError });
  const confirm = query.useMutation("post", "/operator/v1/set-up/confirmation", { onError });

  if (token === null) {
    return (
      <OperatorFrame title="Set up">
        <FormAlert message="This address is not whole: open the link that api operator add has printed, all of it." />
      </OperatorFrame>
    );
  }
  if (confirm.isSuccess) {
    return (
      <OperatorFrame title="You are an operator">
        <Stack>
          <Text>The link is void now. Signing in takes the next code of your app: the one you just used is good once.</Text>
          <Anchor component={Link} to="/sign-in" underline="always">
            Sign in
          </Anchor>
        </Stack>
      </OperatorFrame>
    );
  }
  const failed = confirm.error ?? begin.error;
  return (
    <OperatorFrame title="Set up" description="A password, and an authenticator app: there is no way in without it.">
      <form
        noValidate
        onSubmit={form.onSubmit(({ password, code }) => {
          if (!begin.isSuccess) begin.mutate({ body: { token, password } });
          else if (checkCode(code)) form.setFieldError("code", checkCode(code));
          else confirm.mutate({ body: { token, code: cleanCode(code) } });
        })}
      >
        <Stack>
          <FormAlert message={failed ? refusal(failed) : undefined} />
          {begin.isSuccess ? (
            <>
              <Text>Scan this with your authenticator app, then enter the code that it shows.</Text>
              <QrCode value={begin.data.uri} label="QR code for your authenticator app" />
              <CopyField label="Or type in this secret" value={begin.data.secret} wrap />
              <TextInput label="Code" inputMode="numeric" autoComplete="one-time-code" maxLength={16} {...form.getInputProps("code")} />
            </>
          ) : (
            <PasswordInput
              label="Password"
              description="At least 10 characters"
              autoComplete="new-password"
              autoFocus
              size="md"
              {...form.getInputProps("password")}
            />
          )}
          <Button type="submit" size="md" loading={begin.isPending || confirm.isPending}>
            {begin.isSuccess ? "Finish" : "Continue"}
          </Button>
        </Stack>
      </form>
    </OperatorFrame>
  );
}

function refusal(error: unknown): string | undefined {
  const problem = toProblem(error);
  if (problem.status === 404) return "This link was used, or is older than a day. api operator reset prints a new one.";
  return formProblem(error, fields).rest;
}
