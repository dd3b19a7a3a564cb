import { Button, Checkbox, Group, Modal, NumberInput, Select, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";

import { api, query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { limitsQuery } from "@/shared/api/queries";
import { ifSeen, type Seen, useSeen } from "@/shared/api/seen";
import type { Limit, Tenant } from "@/shared/api/types";
import { formatLimit } from "@/shared/lib/format";
import { checkMax, expiries, fieldNames, initialForm, overrideOf } from "@/shared/limits/override";
import { ChangedNotice, isChanged } from "@/shared/ui/ChangedNotice";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";

interface Props {
  tenant: Tenant;
  /** The limit to change; undefined shows nothing. */
  limit: Limit | undefined;
  onClose: () => void;
}

/** Puts a value of the tenant's own in the place of the plan's, tries one out, or puts the plan's back. */
export function LimitDialog({ tenant, limit, onClose }: Props) {
  return (
    <Modal opened={!!limit} onClose={onClose} title={limit?.title} centered>
      {limit && <EditedLimit key={limit.limit} name={limit.limit} tenant={tenant} onDone={onClose} />}
    </Modal>
  );
}

/** The form with the limit as it is when the dialog opens. */
function EditedLimit({ name, tenant, onDone }: { name: string; tenant: Tenant; onDone: () => void }) {
  const path = { tenant: tenant.slug, limit: name };
  const seen = useSeen(["limit", tenant.slug, name], () => api.GET("/v1/tenants/{tenant}/limits/{limit}", { params: { path } }));
  if (seen.isError) return <ErrorState error={seen.error} what="the limit" onRetry={() => void seen.refetch()} />;
  if (!seen.data) return <SkeletonRows rows={3} />;
  return <LimitForm key={seen.data.tag} tenant={tenant} seen={seen.data} onDone={onDone} onReload={() => void seen.refetch()} />;
}

interface FormProps {
  tenant: Tenant;
  seen: Seen<Limit>;
  onDone: () => void;
  onReload: () => void;
}

function LimitForm({ tenant, seen, onDone, onReload }: FormProps) {
  const limit = seen.value;
  const queryClient = useQueryClient();
  const form = useForm({ initialValues: initialForm(limit), validate: { max: (max) => checkMax(max, limit) } });
  const done = async (message: string) => {
    await queryClient.invalidateQueries({ queryKey: limitsQuery(tenant.slug).queryKey });
    notifications.show({ message, color: "signal" });
    onDone();
  };
  const onError = (error: unknown) => form.setErrors(formProblem(error, fieldNames).fields);
  const save = query.useMutation("put", "/v1/tenants/{tenant}/limits/{limit}", {
    onSuccess: () => done(`${limit.title}: in force on every edge.`),
    onError,
  });
  const reset = query.useMutation("delete", "/v1/tenants/{tenant}/limits/{limit}", {
    onSuccess: () => done(`${limit.title}: the plan's value is back.`),
    onError,
  });
  const params = { path: { tenant: tenant.slug, limit: limit.limit } };
  const failed = save.isError ? save.error : reset.error;
  return (
    <form noValidate onSubmit={form.onSubmit((values) => save.mutate({ params, headers: ifSeen(seen), body: overrideOf(values) }))}>
      <Stack>
        <Text size="sm" c="dimmed">
          The plan has {formatLimit(limit.plan_max, limit.unit)}. It can be lowered, and raised to{" "}
          {formatLimit(limit.highest, limit.unit)} for up to 31 days.
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
        {limit.no_dry_run && (
          <Text size="sm" c="dimmed">
            It can&apos;t be tried out: {limit.no_dry_run}.
          </Text>
        )}
        {limit.can_dry_run && (
          <Checkbox
            label="Only try it out"
            description="Refuses nothing by this value and counts what it would have refused."
            {...form.getInputProps("dryRun", { type: "checkbox" })}
          />
        )}
        <ChangedNotice error={failed} what="this limit" onReload={onReload} />
        <FormAlert message={failed && !isChanged(failed) ? formProblem(failed, fieldNames).rest : undefined} />
        <Group justify="space-between">
          <Button
            variant="default"
            disabled={!limit.override}
            loading={reset.isPending}
            onClick={() => reset.mutate({ params, headers: ifSeen(seen) })}
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
