import { Menu } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { ShieldCheck, Users } from "lucide-react";

import { roleLabel } from "@/shared/access";
import { query } from "@/shared/api/client";
import { sessionQuery } from "@/shared/api/queries";
import { menuNote, PersonMenu } from "@/shared/ui/PersonMenu";

/** Who is signed in; the colour scheme; accounts to change to; signing out. */
export function AccountMenu() {
  const navigate = useNavigate();
  const { data: session } = useQuery(sessionQuery());
  const signOut = query.useMutation("delete", "/v1/session", {
    // A new document: nothing of the former user stays in this one's memory.
    onSuccess: () => navigate({ to: "/sign-in", reloadDocument: true }),
  });

  return (
    <PersonMenu email={session?.user.email ?? ""} signingOut={signOut.isPending} onSignOut={() => signOut.mutate({})}>
      {session && session.accounts.length > 1 && (
        <>
          <Menu.Divider />
          <Menu.Label>Accounts</Menu.Label>
          {session.accounts.map(({ id, name, role }) => (
            <Menu.Item
              key={id}
              leftSection={<Users size={16} aria-hidden />}
              rightSection={<span className={menuNote}>{roleLabel(role)}</span>}
              onClick={() => void navigate({ to: "/accounts/$account/members", params: { account: id } })}
            >
              {name}
            </Menu.Item>
          ))}
        </>
      )}
      <Menu.Divider />
      <Menu.Item leftSection={<ShieldCheck size={16} aria-hidden />} onClick={() => void navigate({ to: "/security" })}>
        Security
      </Menu.Item>
    </PersonMenu>
  );
}
