import { Button, Group, Modal, Stack, Text } from "@mantine/core";
import type { ReactNode } from "react";

import { toProblem } from "../api/problem";
import { FormAlert } from "./states";

interface Props {
  opened: boolean;
  onClose: () => void;
  title: string;
  /** What happens then. */
  children: ReactNode;
  /** The button's words: "Remove member". */
  action: string;
  pending: boolean;
  error: unknown;
  onConfirm: () => void;
}

/** Asks once more before something can't be taken back. */
export function ConfirmDialog({ opened, onClose, title, children, action, pending, error, onConfirm }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered>
      <Stack>
        <Text component="div">{children}</Text>
        <FormAlert message={error ? toProblem(error).message : undefined} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button color="red" loading={pending} onClick={onConfirm}>
            {action}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
