import { Menu, UnstyledButton, useMantineColorScheme, type MantineColorScheme } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Check, ChevronsUpDown, LogOut, Monitor, Moon, ShieldCheck, Sun, Users } from "lucide-react";

import { roleLabel } from "@/shared/access";
import { query } from "@/shared/api/client";
import { sessionQuery } from "@/shared/api/queries";
import classes from "./AccountMenu.module.css";

const schemes: readonly { value: MantineColorScheme; label: string; icon: typeof Sun }[] = [
  { value: "light", label: "Light", icon: Sun },
  { value: "dark", label: "Dark", icon: Moon },
  { value: "auto", label: "System", icon: Monitor },
];

/** Who is signed in; the colour scheme; accounts to change to; signing out. */
export function AccountMenu() {
  const navigate = useNavigate();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const { data: session } = useQuery(sessionQuery());
  const signOut = query.useMutation("delete", "/v1/session", {
    // A new document: nothing of the former user stays in this one's memory.
    onSuccess: () => navigate({ to: "/sign-in", reloadDocument: true }),
  });
  const email = session?.user.email ?? "";

  return (
    <Menu position="top-start" width="target" shadow="md" withinPortal={false}>
      <Menu.Target>
        <UnstyledButton className={classes["target"]} aria-label="Account menu">
          <span className={classes["initial"]} aria-hidden>
            {email.charAt(0).toUpperCase()}
          </span>
          <span className={classes["email"]}>{email}</span>
          <ChevronsUpDown size={16} aria-hidden className={classes["chevron"]} />
        </UnstyledButton>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>Theme</Menu.Label>
        {schemes.map(({ value, label, icon: Icon }) => (
          <Menu.Item
            key={value}
            closeMenuOnClick={false}
            leftSection={<Icon size={16} aria-hidden />}
            rightSection={value === colorScheme ? <Check size={16} aria-label="current" /> : undefined}
            onClick={() => setColorScheme(value)}
          >
            {label}
          </Menu.Item>
        ))}
        {session && session.accounts.length > 1 && (
          <>
            <Menu.Divider />
            <Menu.Label>Accounts</Menu.Label>
            {session.accounts.map(({ id, name, role }) => (
              <Menu.Item
                key={id}
                leftSection={<Users size={16} aria-hidden />}
                rightSection={<span className={classes["role"]}>{roleLabel(role)}</span>}
                onClick={() => void navigate({ to: "/accounts/$account/members", params: { account: id } })}
              >
                {name}
              </Menu.Item>
            ))}
          </>
        )}
        <Menu.Divider />
        <Menu.Item
          leftSection={<ShieldCheck size={16} aria-hidden />}
          onClick={() => void navigate({ to: "/security" })}
        >
          Security
        </Menu.Item>
        <Menu.Item
          leftSection={<LogOut size={16} aria-hidden />}
          disabled={signOut.isPending}
          onClick={() => signOut.mutate({})}
        >
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
