import { Button, Group, Modal, NumberInput, Select, Stack, Switch, TagsInput, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";

import { api, query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { hubsQuery } from "@/shared/api/queries";
import { ifSeen, type Seen, useSeen } from "@/shared/api/seen";
import type { Hub, Tenant } from "@/shared/api/types";
import { ChangedNotice, isChanged } from "@/shared/ui/ChangedNotice";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { handlers } from "./handlers";
import {
  checkClientTimeout,
  checkHistoryMessages,
  checkHistorySeconds,
  checkKeepAlive,
  checkName,
  checkOrigins,
  checkPartitions,
  checkReconnect,
  checkRuleURL,
  checkTimeout,
  fieldNames,
  initialForm,
  settingsOf,
} from "./settings";
import { UpstreamFields } from "./UpstreamFields";
import classes from "./HubDialog.module.css";

interface Props {
  tenant: Tenant;
  /** The hub to edit; undefined creates one. */
  hub: Hub | undefined;
  opened: boolean;
  onClose: () => void;
}

/** Creates a hub or changes its settings. */
export function HubDialog({ hub, opened, onClose, tenant }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title={hub ? `Edit ${hub.name}` : "New hub"} centered size="lg">
      {hub ? <EditedHub name={hub.name} tenant={tenant} onDone={onClose} /> : <HubSettingsForm tenant={tenant} onDone={onClose} />}
    </Modal>
  );
}

/** The form with the hub as it is when the dialog opens: what the list shows may be older. */
function EditedHub({ name, tenant, onDone }: { name: string; tenant: Tenant; onDone: () => void }) {
  const path = { tenant: tenant.slug, hub: name };
  const seen = useSeen(["hub", tenant.slug, name], () => api.GET("/v1/tenants/{tenant}/hubs/{hub}", { params: { path } }));
  if (seen.isError) return <ErrorState error={seen.error} what="the hub" onRetry={() => void seen.refetch()} />;
  if (!seen.data) return <SkeletonRows rows={5} />;
  return <HubSettingsForm key={seen.data.tag} seen={seen.data} tenant={tenant} onDone={onDone} onReload={() => void seen.refetch()} />;
}

interface FormProps {
  tenant: Tenant;
  seen?: Seen<Hub>;
  onDone: () => void;
  onReload?: () => void;
}

function HubSettingsForm({ tenant, seen, onDone, onReload = onDone }: FormProps) {
  const hub = seen?.value;
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: initialForm(hub),
    validate: {
      name: checkName,
      keepAlive: checkKeepAlive,
      clientTimeout: (value, { keepAlive }) => checkClientTimeout(value, keepAlive),
      origins: checkOrigins,
      historySeconds: checkHistorySeconds,
      historyMessages: checkHistoryMessages,
      partitions: checkPartitions,
      rules: { url: checkRuleURL },
      timeout: checkTimeout,
      reconnect: checkReconnect,
    },
  });
  const outcome = {
    onSuccess: async (saved: Hub) => {
      await queryClient.invalidateQueries({ queryKey: hubsQuery(tenant.slug).queryKey });
      notifications.show({ message: `Hub ${saved.name} is saved and in force on every edge.`, color: "signal" });
      onDone();
    },
    onError: (error: unknown) => form.setErrors(formProblem(error, fieldNames).fields),
  };
  const create = query.useMutation("put", "/v1/tenants/{tenant}/hubs/{hub}", outcome);
  // What this form doesn't show stays as it is.
  const change = query.useMutation("patch", "/v1/tenants/{tenant}/hubs/{hub}", outcome);
  const save = hub ? change : create;
  const explanation = handlers.find(({ value }) => value === form.values.handler)?.explanation;

  return (
    <form
      noValidate
      onSubmit={form.onSubmit((values) =>
        save.mutate({
          params: { path: { tenant: tenant.slug, hub: values.name } },
          headers: ifSeen(seen),
          body: settingsOf(values, hub?.history.bytes),
        }),
      )}
    >
      <Stack>
        <ChangedNotice error={save.error} what="this hub" onReload={onReload} />
        <FormAlert message={save.isError && !isChanged(save.error) ? formProblem(save.error, fieldNames).rest : undefined} />
        {!hub && (
          <TextInput
            label="Name"
            description="Compared in lower case"
            maxLength={128}
            data-autofocus
            {...form.getInputProps("name")}
          />
        )}
        <div>
          <Select
            label="Handler"
            description="Who answers what clients invoke"
            data={handlers.map(({ value, label }) => ({ value, label }))}
            allowDeselect={false}
            {...form.getInputProps("handler")}
          />
          <p className={classes["explanation"]} aria-live="polite">
            {explanation}
          </p>
        </div>
        <div className={classes["pair"]}>
          <NumberInput
            label="Keep-alive"
            description="A ping after this much silence"
            suffix=" s"
            min={1}
            max={300}
            allowDecimal={false}
            {...form.getInputProps("keepAlive")}
          />
          <NumberInput
            label="Client timeout"
            description="Silence that ends a connection"
            suffix=" s"
            min={2}
            max={600}
            allowDecimal={false}
            {...form.getInputProps("clientTimeout")}
          />
        </div>
        <TagsInput
          label="Allowed origins"
          description="Origins of browsers that may connect. Empty allows any."
          placeholder={form.values.origins.length === 0 ? "https://app.example.com" : ""}
          maxTags={50}
          splitChars={[",", " "]}
          acceptValueOnBlur
          {...form.getInputProps("origins")}
        />
        <div className={classes["pair"]}>
          <NumberInput
            label="Keep messages for"
            description="For clients that come back. 0: what the plan allows"
            suffix=" s"
            min={0}
            max={604_800}
            allowDecimal={false}
            {...form.getInputProps("historySeconds")}
          />
          <NumberInput
            label="Keep messages, at most"
            description="The newest so many. 0: what the plan allows"
            min={0}
            max={100_000}
            allowDecimal={false}
            {...form.getInputProps("historyMessages")}
          />
        </div>
        <Switch
          label="Index groups"
          description="Makes the history of a quiet group in a busy hub quick to read"
          {...form.getInputProps("groupIndex", { type: "checkbox" })}
        />
        <Switch
          label="Tell clients of gaps"
          description="When messages are lost for good, clients get $gap and stay, instead of being asked to reconnect"
          {...form.getInputProps("tellGaps", { type: "checkbox" })}
        />
        <Switch
          label="Close connections when their token expires"
          description={
            "Unless the client has shown a newer one; it may reconnect with one. Off: tokens and identity providers say so " +
            "for themselves. A change counts for live connections at once"
          }
          {...form.getInputProps("closeOnExpiry", { type: "checkbox" })}
        />
        <NumberInput
          label="Partitions"
          description={
            "Streams that the hub is kept in, for one with more traffic than a stream takes. Order holds in each. " +
            "A change ends the hub's history and has its clients reconnect"
          }
          min={1}
          max={16}
          allowDecimal={false}
          {...form.getInputProps("partitions")}
        />
        <UpstreamFields form={form} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending}>
            {hub ? "Save hub" : "Create hub"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
