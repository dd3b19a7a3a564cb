import { Button, Checkbox, Group, Modal, NumberInput, Select, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { limitsQuery } from "@/shared/api/queries";
import type { Limit, Tenant } from "@/shared/api/types";
import { formatLimit } from "@/shared/lib/format";
import { checkMax, expiries, fieldNames, initialForm, overrideOf } from "@/shared/limits/override";
import { FormAlert } from "@/shared/ui/states";

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
      {limit && <LimitForm key={limit.limit} tenant={tenant} limit={limit} onDone={onClose} />}
    </Modal>
  );
}

function LimitForm({ tenant, limit, onDone }: { tenant: Tenant; limit: Limit; onDone: () => void }) {
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
    <form noValidate onSubmit={form.onSubmit((values) => save.mutate({ params, body: overrideOf(values) }))}>
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
        <FormAlert message={failed ? formProblem(failed, fieldNames).rest : undefined} />
        <Group justify="space-between">
          <Button
            variant="default"
            disabled={!limit.override}
            loading={reset.isPending}
            onClick={() => reset.mutate({ params })}
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
