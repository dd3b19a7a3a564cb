import { Button, Stack, Text } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { enterAsNew } from "./enterAsNew";

/**
 * Where the link of the sign-up mail leads. It takes a click: programs that open
 * links in mails must not use the token up.
 */
export function ConfirmSignUpPage({ token, onSignedUp }: { token: string; onSignedUp: (tenant: string) => void }) {
  useDocumentTitle("Confirm your email address");
  const queryClient = useQueryClient();
  const confirm = query.useMutation("post", "/v1/signup/confirmation", {
    meta: { keepsSession: true },
    onSuccess: (made) => onSignedUp(enterAsNew(queryClient, made)),
  });
  return (
    <AuthFrame title="Confirm your email address" description="Your first tenant, hub and keys are made then.">
      <Stack align="flex-start">
        <FormAlert message={confirm.isError ? toProblem(confirm.error).message : undefined} />
        {token ? (
          <Button size="md" loading={confirm.isPending} onClick={() => confirm.mutate({ body: { token } })}>
            Confirm and start
          </Button>
        ) : (
          <Text>This link is incomplete. Open the one in the mail again.</Text>
        )}
      </Stack>
    </AuthFrame>
  );
}
