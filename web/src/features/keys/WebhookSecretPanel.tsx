import { Button, Modal, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQueryClient } from "@tanstack/react-query";
import { KeyRound, RefreshCw } from "lucide-react";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import type { Tenant, WebhookSecret } from "@/shared/api/types";
import { CopyField } from "@/shared/ui/CopyField";
import { Notice } from "@/shared/ui/Notice";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import classes from "./KeysPage.module.css";

/** What signs the requests to upstreams in native mode. */
export function WebhookSecretPanel({ tenant }: { tenant: Tenant }) {
  const [opened, dialog] = useDisclosure(false);
  const path = { tenant: tenant.slug };
  const secrets = query.useQuery("get", "/v1/tenants/{tenant}/webhook-secrets", { params: { path } });
  const list = secrets.data?.webhook_secrets ?? [];
  const action = list.length > 0 ? "Rotate webhook secret" : "Make webhook secret";

  return (
    <Panel
      title="Webhook secret"
      description="Signs what is posted to upstreams in the native format, as Standard Webhooks does."
      aside={
        secrets.isSuccess && (
          <Button variant="default" size="sm" leftSection={<RefreshCw size={15} aria-hidden />} onClick={dialog.open}>
            {action}
          </Button>
        )
      }
      flush
    >
      {secrets.isPending && (
        <div className={classes["pad"]}>
          <SkeletonRows rows={1} height={48} />
        </div>
      )}
      {secrets.isError && (
        <div className={classes["pad"]}>
          <ErrorState error={secrets.error} what="the webhook secret" onRetry={() => void secrets.refetch()} />
        </div>
      )}
      {secrets.isSuccess && list.length === 0 && (
        <Text c="dimmed" className={classes["pad"] ?? ""}>
          There is none yet. You need one before a hub can have an upstream in the native format.
        </Text>
      )}
      {list.map((secret) => (
        <SecretRow key={secret.id} secret={secret} />
      ))}
      <RotateDialog tenant={tenant} action={action} opened={opened} onClose={dialog.close} />
    </Panel>
  );
}

function SecretRow({ secret }: { secret: WebhookSecret }) {
  const name = secret.expires_at ? "Former secret" : "Secret in use";
  return (
    <div className={classes["row"]} role="group" aria-label={name}>
      <div className={classes["words"]}>
        <Text fw={550}>{name}</Text>
        <Text c="dimmed" size="sm">
          {secret.expires_at ? (
            <>
              Signs besides until <RelativeTime at={secret.expires_at} />
            </>
          ) : (
            <>
              Created <RelativeTime at={secret.created_at} />
            </>
          )}
        </Text>
      </div>
      <code className={classes["masked"]} aria-label={`Ends in ${secret.hint}`}>
        whsec_••••••••{secret.hint}
      </code>
    </div>
  );
}

interface DialogProps {
  tenant: Tenant;
  action: string;
  opened: boolean;
  onClose: () => void;
}

function RotateDialog({ tenant, action, opened, onClose }: DialogProps) {
  const queryClient = useQueryClient();
  const [secret, setSecret] = useState<string>();
  const path = { tenant: tenant.slug };
  const rotate = query.useMutation("post", "/v1/tenants/{tenant}/webhook-secrets/rotate", {
    onSuccess: async (fresh) => {
      setSecret(fresh.secret);
      await queryClient.invalidateQueries({
        queryKey: query.queryOptions("get", "/v1/tenants/{tenant}/webhook-secrets", { params: { path } }).queryKey,
      });
    },
  });
  // The secret stays readable until the dialog is dismissed on purpose.
  const close = () => {
    onClose();
    setSecret(undefined);
    rotate.reset();
  };
  return (
    <Modal
      opened={opened}
      onClose={close}
      centered
      size="lg"
      title={secret ? "Your new webhook secret" : `${action}?`}
      closeOnClickOutside={!secret}
    >
      {secret ? (
        <Stack>
          <Notice tone="warn" icon={<KeyRound size={18} />} title="Copy it now: it is shown only once">
            Give it to your upstream. If it is lost, rotate it again.
          </Notice>
          <CopyField label="Webhook secret" value={secret} wrap />
          <Button onClick={close}>Done</Button>
        </Stack>
      ) : (
        <Stack>
          <Text>
            Requests are signed with the former secret, too, for 24 hours, so that your upstream has time to learn the
            new one.
          </Text>
          <FormAlert message={rotate.isError ? toProblem(rotate.error).message : undefined} />
          <div className={classes["buttons"]}>
            <Button variant="default" onClick={close} data-autofocus>
              Cancel
            </Button>
            <Button loading={rotate.isPending} onClick={() => rotate.mutate({ params: { path }, body: {} })}>
              {action}
            </Button>
          </div>
        </Stack>
      )}
    </Modal>
  );
}
