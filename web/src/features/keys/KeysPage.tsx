import { Button, Modal, Select, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQueryClient } from "@tanstack/react-query";
import { RefreshCw } from "lucide-react";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import type { AccessKey, AccessKeySecret, KeySlot, Tenant } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { ConfirmDialog } from "@/shared/ui/ConfirmDialog";
import { CopyField } from "@/shared/ui/CopyField";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { SecretOnce } from "@/shared/ui/SecretOnce";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { WebhookSecretPanel } from "./WebhookSecretPanel";
import classes from "./KeysPage.module.css";

const slotNames: Record<KeySlot, string> = { primary: "Primary key", secondary: "Secondary key" };

/** The tenant's two access keys. */
export function KeysPage({ tenant }: { tenant: Tenant }) {
  useDocumentTitle("Keys", tenant.name);
  const keys = query.useQuery("get", "/v1/tenants/{tenant}/keys", { params: { path: { tenant: tenant.slug } } });

  return (
    <Page
      title="Keys"
      description="Access keys sign client, server and REST tokens, and work as a bearer on the REST API. There are two, so that one serves while you replace the other."
    >
      <Panel>
        <CopyField label="Endpoint" value={tenant.endpoint} />
      </Panel>
      <Panel title="Access keys" flush>
        {keys.isPending && (
          <div className={classes["pad"]}>
            <SkeletonRows rows={2} height={64} />
          </div>
        )}
        {keys.isError && (
          <div className={classes["pad"]}>
            <ErrorState error={keys.error} what="the keys" onRetry={() => void keys.refetch()} />
          </div>
        )}
        {keys.data?.keys.map((key) => (
          // By slot: the dialog with a fresh secret outlives the key that it replaced.
          <KeyRow key={key.expires_at ? `former ${key.slot}` : key.slot} tenant={tenant} masked={key} />
        ))}
      </Panel>
      <WebhookSecretPanel tenant={tenant} />
      <Panel title="Rotate without downtime">
        <ol className={classes["steps"]}>
          <li>Regenerate the secondary key and give it to your backend.</li>
          <li>When every backend uses it, regenerate the primary key.</li>
        </ol>
        <Text c="dimmed" size="sm" mt="sm">
          A regenerated key stops working within a second: on every edge, for live connections too.
        </Text>
      </Panel>
    </Page>
  );
}

function KeyRow({ tenant, masked }: { tenant: Tenant; masked: AccessKey }) {
  const [opened, dialog] = useDisclosure(false);
  const former = masked.expires_at !== undefined;
  const name = former ? `Former ${slotNames[masked.slot].toLowerCase()}` : slotNames[masked.slot];
  return (
    <div className={classes["row"]} role="group" aria-label={name}>
      <div className={classes["words"]}>
        <Text fw={550}>{name}</Text>
        <Text c="dimmed" size="sm">
          Created <RelativeTime at={masked.created_at} />,{" "}
          {masked.last_used_at ? (
            <>
              used <RelativeTime at={masked.last_used_at} />
            </>
          ) : (
            "never used"
          )}
          {masked.expires_at && (
            <>
              , ends <RelativeTime at={masked.expires_at} />
            </>
          )}
        </Text>
      </div>
      <code className={classes["masked"]} aria-label={`Ends in ${masked.hint}`}>
        ••••••••••••{masked.hint}
      </code>
      {former ? (
        <EndFormer tenant={tenant} slot={masked.slot} />
      ) : (
        <>
          <Button
            variant="default"
            size="sm"
            leftSection={<RefreshCw size={15} aria-hidden />}
            aria-label={`Regenerate ${name.toLowerCase()}`}
            onClick={dialog.open}
          >
            Regenerate
          </Button>
          <RegenerateDialog tenant={tenant} slot={masked.slot} opened={opened} onClose={dialog.close} />
        </>
      )}
    </div>
  );
}

/** Ends the overlap of a key that was replaced. */
function EndFormer({ tenant, slot }: { tenant: Tenant; slot: KeySlot }) {
  const queryClient = useQueryClient();
  const [opened, dialog] = useDisclosure(false);
  const path = { tenant: tenant.slug, slot };
  const end = query.useMutation("delete", "/v1/tenants/{tenant}/keys/{slot}/former", {
    onSuccess: async () => {
      dialog.close();
      await queryClient.invalidateQueries({
        queryKey: query.queryOptions("get", "/v1/tenants/{tenant}/keys", { params: { path: { tenant: tenant.slug } } }).queryKey,
      });
    },
  });
  return (
    <>
      <Button variant="default" size="sm" aria-label={`End the former ${slotNames[slot].toLowerCase()}`} onClick={dialog.open}>
        End now
      </Button>
      <ConfirmDialog
        opened={opened}
        onClose={dialog.close}
        title={`End the former ${slotNames[slot].toLowerCase()}?`}
        action="End key"
        pending={end.isPending}
        error={end.error}
        onConfirm={() => end.mutate({ params: { path } })}
      >
        It and every token signed with it stop working within a second. Connections that came with such a token are
        closed.
      </ConfirmDialog>
    </>
  );
}

/** How long a replaced key may go on being good. */
const overlaps = [
  { value: "0", label: "Not at all" },
  { value: "3600", label: "One hour" },
  { value: "86400", label: "One day" },
  { value: "604800", label: "Seven days" },
];

interface DialogProps {
  tenant: Tenant;
  slot: KeySlot;
  opened: boolean;
  onClose: () => void;
}

function RegenerateDialog({ tenant, slot, opened, onClose }: DialogProps) {
  const queryClient = useQueryClient();
  const [secret, setSecret] = useState<AccessKeySecret>();
  const [overlap, setOverlap] = useState("0");
  const path = { tenant: tenant.slug };
  const regenerate = query.useMutation("post", "/v1/tenants/{tenant}/keys/{slot}/regenerate", {
    onSuccess: async (fresh) => {
      setSecret(fresh);
      await queryClient.invalidateQueries({
        queryKey: query.queryOptions("get", "/v1/tenants/{tenant}/keys", { params: { path } }).queryKey,
      });
    },
  });
  // The secret stays readable until the dialog is dismissed on purpose.
  const close = () => {
    onClose();
    setSecret(undefined);
    regenerate.reset();
  };
  const name = slotNames[slot].toLowerCase();

  return (
    <Modal
      opened={opened}
      onClose={close}
      centered
      size="lg"
      title={secret ? `Your new ${name}` : `Regenerate the ${name}?`}
      closeOnClickOutside={!secret}
    >
      {secret ? (
        <Stack>
          <SecretOnce secret={secret} />
          <Button onClick={close}>Done</Button>
        </Stack>
      ) : (
        <Stack>
          <Text>
            {overlap === "0"
              ? `The present ${name} and every token signed with it stop working within a second. Connections that came with such a token are closed.`
              : `The present ${name} and every token signed with it go on working beside the new one until then; or until you end it.`}
          </Text>
          <Select
            label="Keep the present key good for"
            data={overlaps}
            allowDeselect={false}
            value={overlap}
            onChange={(value) => setOverlap(value ?? "0")}
          />
          <FormAlert message={regenerate.isError ? toProblem(regenerate.error).message : undefined} />
          <div className={classes["buttons"]}>
            <Button variant="default" onClick={close} data-autofocus>
              Cancel
            </Button>
            <Button
              color="red"
              loading={regenerate.isPending}
              onClick={() => regenerate.mutate({ params: { path: { ...path, slot } }, body: { overlap_seconds: Number(overlap) } })}
            >
              Regenerate key
            </Button>
          </div>
        </Stack>
      )}
    </Modal>
  );
}
