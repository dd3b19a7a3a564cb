import { Button, Checkbox, Group, Modal, NumberInput, Select, Stack, Text, Textarea } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";

import { formProblem } from "@/shared/api/problem";
import { formatLimit } from "@/shared/lib/format";
import { ifSeen, type Seen, useSeen } from "@/shared/api/seen";
import { checkMax, expiries, fieldNames, initialForm, overrideOf } from "@/shared/limits/override";
import { ChangedNotice, isChanged } from "@/shared/ui/ChangedNotice";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { api, query } from "../api/client";
import { tenantQuery, type Limit, type Tenant } from "../api/queries";
import { checkReason, longestReason } from "../ui/ReasonDialog";

interface Props {
  tenant: Tenant;
  /** The limit to change; undefined shows nothing. */
  limit: Limit | undefined;
  onClose: () => void;
}

/** Puts an operator's value in the place of the plan's, tries one out, or puts the plan's back. */
export function LimitDialog({ tenant, limit, onClose }: Props) {
  return (
    <Modal opened={!!limit} onClose={onClose} title={limit?.title} centered>
      {limit && <EditedLimit key={limit.limit} name={limit.limit} tenant={tenant} onDone={onClose} />}
    </Modal>
  );
}

/** The form with the limit as it is when the dialog opens. */
function EditedLimit({ name, tenant, onDone }: { name: string; tenant: Tenant; onDone: () => void }) {
  const path = { tenant: tenant.id, limit: name };
  const seen = useSeen(["limit", tenant.id, name], () => api.GET("/operator/v1/tenants/{tenant}/limits/{limit}", { params: { path } }));
  if (seen.isError) return <ErrorState error={seen.error} what="the limit" onRetry={() => void seen.refetch()} />;
  if (!seen.data) return <SkeletonRows rows={3} />;
  return <LimitForm key={seen.data.tag} tenant={tenant} seen={seen.data} onDone={onDone} onReload={() => void seen.refetch()} />;
}

const names = { ...fieldNames, reason: "reason" } as const;

/** What was set before, as the form of both consoles begins with it. */
const before = ({ set_max, dry_run = false, expires_at, source }: Limit) =>
  set_max === undefined && source === "plan" && !dry_run ? undefined : { max: set_max, dry_run, expires_at };

interface FormProps {
  tenant: Tenant;
  seen: Seen<Limit>;
  onDone: () => void;
  onReload: () => void;
}

function LimitForm({ tenant, seen, onDone, onReload }: FormProps) {
  const limit = seen.value;
  const queryClient = useQueryClient();
  const set = before(limit);
  const form = useForm({
    initialValues: { ...initialForm({ ...limit, override: set }), reason: "" },
    validate: { max: (max) => checkMax(max, limit), reason: checkReason },
  });
  const done = async (message: string) => {
    await queryClient.invalidateQueries({ queryKey: tenantQuery(tenant.id).queryKey });
    notifications.show({ message, color: "signal" });
    onDone();
  };
  const onError = (error: unknown) => form.setErrors(formProblem(error, names).fields);
  const save = query.useMutation("put", "/operator/v1/tenants/{tenant}/limits/{limit}", {
    onSuccess: () => done(`${limit.title}: in force on every edge.`),
    onError,
  });
  const reset = query.useMutation("delete", "/operator/v1/tenants/{tenant}/limits/{limit}", {
    onSuccess: () => done(`${limit.title}: the plan's value is back.`),
    onError,
  });
  const path = { tenant: tenant.id, limit: limit.limit };
  const failed = save.isError ? save.error : reset.error;
  return (
    <form
      noValidate
      onSubmit={form.onSubmit(({ reason, ...values }) =>
        save.mutate({ params: { path }, headers: ifSeen(seen), body: { ...overrideOf(values), reason: reason.trim() } }),
      )}
    >
      <Stack>
        <Text size="sm" c="dimmed">
          The plan has {formatLimit(limit.plan_max, limit.unit)}; you may set up to {formatLimit(limit.highest, limit.unit)}. The
          account can&apos;t change what an operator has set.
        </Text>
        <NumberInput
          label={`Value (${limit.unit})`}
          min={limit.lowest}
          max={limit.highest}
          allowDecimal={false}
          clampBehavior="none"
          data-autofocus
          {...form.getInputProps("max")}
        />
        <Select
          label="Ends"
          description="Then the plan's value is back by itself."
          data={expiries}
          allowDeselect={false}
          {...form.getInputProps("expires")}
        />
        {limit.can_dry_run && (
          <Checkbox
            label="Only try it out"
            description="Refuses nothing by this value and counts what it would have refused."
            {...form.getInputProps("dryRun", { type: "checkbox" })}
          />
        )}
        <Textarea
          label="Reason"
          description="The customer reads it, with your name."
          maxLength={longestReason}
          autosize
          minRows={2}
          {...form.getInputProps("reason")}
        />
        <ChangedNotice error={failed} what="this limit" onReload={onReload} />
        <FormAlert message={failed && !isChanged(failed) ? formProblem(failed, names).rest : undefined} />
        <Group justify="space-between">
          <Button
            variant="default"
            disabled={!set}
            loading={reset.isPending}
            onClick={() => {
              if (form.validateField("reason").hasError) return;
              reset.mutate({ params: { path, query: { reason: form.getValues().reason.trim() } }, headers: ifSeen(seen) });
            }}
          >
            Use the plan&apos;s value
          </Button>
          <Button type="submit" loading={save.isPending}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
