import { Anchor, Button, PasswordInput, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useEffect } from "react";

import { roleLabel } from "@/shared/access";
import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { sessionQuery } from "@/shared/api/queries";
import type { InvitationOffer } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { FormAlert, SkeletonRows } from "@/shared/ui/states";
import { AuthFrame } from "./AuthFrame";
import { checkNewPassword, minPassword } from "@/shared/lib/credentials";

interface Props {
  token: string;
  /** Called with where to go once the account was joined. */
  onJoined: () => void;
}

/** Where the link of an invitation leads. */
export function InvitationPage({ token, onJoined }: Props) {
  useDocumentTitle("Invitation");
  const look = query.useMutation("post", "/v1/invitations/lookup", { meta: { keepsSession: true } });
  const { mutate } = look;
  useEffect(() => {
    if (token) mutate({ body: { token } });
  }, [token, mutate]);

  return (
    <AuthFrame title="You are invited">
      {!token && <Text>This link is incomplete. Open the one in the mail again.</Text>}
      {token && look.isPending && <SkeletonRows rows={3} />}
      {look.isError && <FormAlert message={toProblem(look.error).message} />}
      {look.isSuccess && <Offer token={token} offer={look.data} onJoined={onJoined} />}
    </AuthFrame>
  );
}

function Offer({ token, offer, onJoined }: Props & { offer: InvitationOffer }) {
  const queryClient = useQueryClient();
  const { data: session } = useQuery(sessionQuery());
  const signedIn = session?.user.email.toLowerCase() === offer.email.toLowerCase();
  const form = useForm({
    initialValues: { password: "" },
    validate: { password: (password) => (offer.has_user ? null : checkNewPassword(password)) },
  });
  const accept = query.useMutation("post", "/v1/invitations/acceptance", {
    meta: { keepsSession: true },
    onSuccess: async (joined) => {
      queryClient.clear();
      queryClient.setQueryData(sessionQuery().queryKey, joined);
      onJoined();
    },
    onError: (error) => form.setErrors(formProblem(error, { password: "password" }).fields),
  });
  const here = `/invitation?token=${encodeURIComponent(token)}`;

  return (
    <Stack>
      <Text>
        {offer.invited_by || "An administrator"} invites <strong>{offer.email}</strong> to the account{" "}
        <strong>{offer.account_name}</strong>, as {roleLabel(offer.role).toLowerCase()}.
      </Text>
      <FormAlert message={accept.isError ? formProblem(accept.error, { password: "password" }).rest : undefined} />
      {offer.has_user && !signedIn ? (
        <>
          <Text>There is a user with this address: sign in with it, then come back to this link.</Text>
          <Button renderRoot={(props) => <Link to="/sign-in" search={{ next: here }} {...props} />}>Sign in</Button>
        </>
      ) : (
        <form
          noValidate
          onSubmit={form.onSubmit(({ password }) =>
            accept.mutate({ body: offer.has_user ? { token } : { token, password } }),
          )}
        >
          <Stack>
            {!offer.has_user && (
              <PasswordInput
                label="Password"
                description={`At least ${minPassword} characters`}
                autoComplete="new-password"
                maxLength={128}
                size="md"
                {...form.getInputProps("password")}
              />
            )}
            <Button type="submit" size="md" loading={accept.isPending}>
              Join {offer.account_name}
            </Button>
          </Stack>
        </form>
      )}
      <Text size="sm" c="dimmed">
        Not you?{" "}
        <Anchor component={Link} to="/" underline="always">
          Leave this page
        </Anchor>
      </Text>
    </Stack>
  );
}
