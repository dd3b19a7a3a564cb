import { Menu, UnstyledButton, useMantineColorScheme, type MantineColorScheme } from "@mantine/core";
import { Check, ChevronsUpDown, LogOut, Monitor, Moon, Sun } from "lucide-react";
import type { ReactNode } from "react";

import classes from "./PersonMenu.module.css";

const schemes: readonly { value: MantineColorScheme; label: string; icon: typeof Sun }[] = [
  { value: "light", label: "Light", icon: Sun },
  { value: "dark", label: "Dark", icon: Moon },
  { value: "auto", label: "System", icon: Monitor },
];

interface Props {
  email: string;
  /** More items, between the colour scheme and signing out. */
  children?: ReactNode;
  signingOut: boolean;
  onSignOut: () => void;
}

/** Class of what is at the right of an item. */
export const menuNote = classes["role"] ?? "";

/** Who is signed in; the colour scheme; signing out. */
export function PersonMenu({ email, children, signingOut, onSignOut }: Props) {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
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
        {children}
        <Menu.Item leftSection={<LogOut size={16} aria-hidden />} disabled={signingOut} onClick={onSignOut}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
