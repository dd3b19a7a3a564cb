import { Button, Group, Modal, Stack, Text, Textarea } from "@mantine/core";
import { useForm } from "@mantine/form";
import type { ReactNode } from "react";

import { formProblem } from "@/shared/api/problem";
import { FormAlert } from "@/shared/ui/states";

interface Props {
  opened: boolean;
  onClose: () => void;
  title: string;
  /** What happens then. */
  children: ReactNode;
  /** Who reads the reason. */
  readers: string;
  /** The button's words: "Suspend tenant". */
  action: string;
  /** What is done can hurt somebody. */
  harsh?: boolean;
  pending: boolean;
  error: unknown;
  onConfirm: (reason: string) => void;
}

const fields = { reason: "reason" } as const;

/** The most that a reason may have, in characters. */
export const longestReason = 500;

/** What is wrong with a reason; null when nothing is. */
export const checkReason = (reason: string): string | null => (reason.trim() ? null : "Say why: it is kept with the change.");

/** Asks for the reason of a change before it is made. */
export function ReasonDialog({ opened, onClose, title, ...rest }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title={title} centered>
      <ReasonForm onCancel={onClose} {...rest} />
    </Modal>
  );
}

function ReasonForm({ children, readers, action, harsh = false, pending, error, onConfirm, onCancel }: Omit<Props, "opened" | "onClose" | "title"> & { onCancel: () => void }) {
  const form = useForm({ initialValues: { reason: "" }, validate: { reason: checkReason } });
  const problem = error ? formProblem(error, fields) : undefined;
  const input = form.getInputProps("reason");
  return (
    <form noValidate onSubmit={form.onSubmit(({ reason }) => onConfirm(reason.trim()))}>
      <Stack>
        <Text component="div">{children}</Text>
        <FormAlert message={problem?.rest} />
        <Textarea
          label="Reason"
          description={readers}
          maxLength={longestReason}
          autosize
          minRows={2}
          data-autofocus
          {...input}
          error={input.error ?? problem?.fields.reason}
        />
        <Group justify="flex-end">
          <Button variant="default" onClick={onCancel}>
            Cancel
          </Button>
          <Button type="submit" {...(harsh && { color: "red" })} loading={pending}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
