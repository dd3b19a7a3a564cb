import { Button, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import type { Session } from "@/shared/api/types";
import { FormAlert } from "@/shared/ui/states";

interface Props {
  onSignedIn: (session: Session) => void;
  /** Back to the first step. */
  onBack: () => void;
}

/** The second step of signing in: a code of the app, or a recovery code. */
export function SecondStepForm({ onSignedIn, onBack }: Props) {
  const form = useForm({
    initialValues: { code: "" },
    validate: { code: (code) => (code.trim().length >= 6 ? null : "Enter the six digits, or a recovery code.") },
  });
  const finish = query.useMutation("post", "/v1/session/second-factor", {
    meta: { keepsSession: true },
    onSuccess: onSignedIn,
    onError: (error) => {
      if (toProblem(error).code === "first_step_missing") onBack();
    },
  });
  return (
    <form noValidate onSubmit={form.onSubmit(({ code }) => finish.mutate({ body: { code: code.trim() } }))}>
      <Stack>
        <FormAlert message={finish.isError ? toProblem(finish.error).message : undefined} />
        <TextInput
          label="Code"
          description="From your authenticator app, or one of your recovery codes"
          autoComplete="one-time-code"
          autoFocus
          size="md"
          maxLength={32}
          {...form.getInputProps("code")}
        />
        <Button type="submit" size="md" loading={finish.isPending}>
          Sign in
        </Button>
        <Text size="sm" c="dimmed">
          Lost both? Ask an owner of your account for help.
        </Text>
        <Button variant="subtle" color="gray" onClick={onBack}>
          Use another account
        </Button>
      </Stack>
    </form>
  );
}
