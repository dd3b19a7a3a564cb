import { Button, Stack } from "@mantine/core";
import { Users } from "lucide-react";

import { toProblem } from "../api/problem";
import { Notice } from "./Notice";

interface Props {
  /** Of the save that failed. */
  error: unknown;
  /** What was edited: "this hub". */
  what: string;
  onReload: () => void;
}

/** Whether a save failed because somebody else was faster. */
export const isChanged = (error: unknown) => error !== null && error !== undefined && toProblem(error).code === "changed";

/** Says that somebody else changed what is being edited, and shows the way on. */
export function ChangedNotice({ error, what, onReload }: Props) {
  if (!isChanged(error)) return null;
  return (
    <Notice tone="warn" urgent icon={<Users size={18} />} title={`Somebody else changed ${what} while you edited it`}>
      <Stack gap="xs" align="flex-start">
        <span>Nothing was saved, so that their change isn&apos;t lost. Look at what is there now, then make your change again.</span>
        <Button variant="default" size="xs" onClick={onReload}>
          Show what is there now
        </Button>
      </Stack>
    </Notice>
  );
}
