import { ActionIcon, Button, Modal, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { KeyRound, X } from "lucide-react";

import type { Tenant } from "@/shared/api/types";
import { freshKeyQuery, setFreshKey } from "@/shared/lib/freshKeys";
import { SecretOnce } from "@/shared/ui/SecretOnce";
import classes from "./FreshKey.module.css";

/** Offers the key that came with a new tenant, until it has been seen or dismissed. */
export function FreshKey({ tenant }: { tenant: Tenant }) {
  const queryClient = useQueryClient();
  const { data: key } = useQuery(freshKeyQuery(tenant.slug));
  const [opened, dialog] = useDisclosure(false);
  if (!key) return null;
  const dismiss = () => setFreshKey(queryClient, tenant.slug, null);

  return (
    <section className={classes["bar"]} aria-label="New access key">
      <KeyRound size={18} aria-hidden className={classes["icon"]} />
      <Text size="sm" className={classes["words"] ?? ""}>
        Your {key.slot} access key is ready, for when you sign tokens yourself. It can be read only now.
      </Text>
      <Button size="xs" variant="default" onClick={dialog.open}>
        Show access key
      </Button>
      <ActionIcon variant="subtle" color="gray" aria-label="Dismiss the new access key" onClick={dismiss}>
        <X size={16} aria-hidden />
      </ActionIcon>
      <Modal opened={opened} onClose={dialog.close} title="Your access key" centered size="lg">
        <Stack>
          <SecretOnce secret={key} />
          <Button onClick={dismiss}>I have saved it</Button>
        </Stack>
      </Modal>
    </section>
  );
}
