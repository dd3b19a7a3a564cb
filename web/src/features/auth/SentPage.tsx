import { Anchor, Stack, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";

import { AuthFrame } from "./AuthFrame";

/** What follows a form whose answer comes by mail. It tells nothing of whether the address is known. */
export function SentPage({ email, children }: { email: string; children: ReactNode }) {
  return (
    <AuthFrame title="Look at your mail">
      <Stack>
        <Text>
          {children} <strong>{email}</strong>.
        </Text>
        <Text size="sm" c="dimmed">
          Nothing there? Look among the spam, and check the address.
        </Text>
        <Anchor component={Link} to="/sign-in" underline="always" size="sm">
          Back to signing in
        </Anchor>
      </Stack>
    </AuthFrame>
  );
}
