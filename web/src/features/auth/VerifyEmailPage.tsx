import { Button, Stack, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";

/**
 * Where the link of the verification mail leads. It takes a click: programs
 * that open links in mails must not use the token up.
 */
export function VerifyEmailPage({ token }: { token: string }) {
  useDocumentTitle("Confirm your email address");
  const verify = query.useMutation("post", "/v1/email-verification", { meta: { keepsSession: true } });

  if (verify.isSuccess) {
    return (
      <AuthFrame title="Email address confirmed">
        <Stack align="flex-start">
          <Text>{verify.data.email} is yours.</Text>
          <Button component={Link} to="/">
            Go to the console
          </Button>
        </Stack>
      </AuthFrame>
    );
  }
  return (
    <AuthFrame title="Confirm your email address">
      <Stack align="flex-start">
        <FormAlert message={verify.isError ? refusal(verify.error) : undefined} />
        {token ? (
          <Button size="md" loading={verify.isPending} onClick={() => verify.mutate({ body: { token } })}>
            Confirm address
          </Button>
        ) : (
          <Text>This link is incomplete. Open the one in the mail again.</Text>
        )}
      </Stack>
    </AuthFrame>
  );
}

function refusal(error: unknown): string {
  const problem = toProblem(error);
  return problem.status === 404 ? "This link is no longer good. Each works once." : problem.message;
}
