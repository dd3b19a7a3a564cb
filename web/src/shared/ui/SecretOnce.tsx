import { Stack } from "@mantine/core";
import { KeyRound } from "lucide-react";

import type { AccessKeySecret } from "../api/types";
import { CopyField } from "./CopyField";
import { Notice } from "./Notice";

/** A fresh key with its secret: the only time that it can be read. */
export function SecretOnce({ secret }: { secret: AccessKeySecret }) {
  return (
    <Stack gap="md">
      <Notice tone="warn" icon={<KeyRound size={18} />} title="Copy it now: it is shown only once">
        Keep it where your backend keeps its secrets. If it is lost, regenerate the {secret.slot} key.
      </Notice>
      <CopyField label="Access key" value={secret.secret} wrap />
      <CopyField label="Connection string" value={secret.connection_string} wrap />
    </Stack>
  );
}
