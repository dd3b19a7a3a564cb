import { Button, Group, SegmentedControl, Select, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { planQuery, plansQuery } from "@/shared/api/queries";
import { ifSeen, type Seen } from "@/shared/api/seen";
import type { Plan, PlanEffective, PlanState, Tenant } from "@/shared/api/types";
import { ChangedNotice, isChanged } from "@/shared/ui/ChangedNotice";
import { Panel } from "@/shared/ui/Page";
import { Tag } from "@/shared/ui/Tag";

const day = new Intl.DateTimeFormat("en", { month: "long", day: "numeric", timeZone: "UTC" });
const mayChange = new Set(["owner", "admin", "billing"]);

/** The plan that the account has, and its change. */
export function PlanPanel({ tenant }: { tenant: Tenant }) {
  const plan = useQuery(planQuery(tenant.account_id));
  const plans = useQuery(plansQuery());
  const state = plan.data?.value;
  const nameOf = (id: string) => plans.data?.plans.find((one) => one.id === id)?.name ?? id;
  return (
    <Panel
      title="Plan"
      description="Of the account, for all its tenants. A change at once shares this period by time: each plan costs and allows its part."
      aside={state && <Tag>{nameOf(state.plan)}</Tag>}
    >
      {plan.isError || plans.isError ? (
        <Text size="sm" c="dimmed">
          The plan can't be read now.
        </Text>
      ) : plan.data && state && plans.data ? (
        <Stack gap="sm">
          <Text size="sm">
            {nameOf(state.plan)} since {day.format(new Date(state.since))}.{" "}
            {state.next_plan && state.next_plan_at
              ? `${nameOf(state.next_plan)} follows on ${day.format(new Date(state.next_plan_at))}.`
              : `The period ends on ${day.format(new Date(state.to))}.`}
          </Text>
          <Text size="sm">
            {state.tenants} of {state.max_tenants} tenants, {state.members} of {state.max_members} members.
          </Text>
          {state.members > state.max_members && (
            <Text size="sm" c="orange">
              The account has {state.members} members, and its plan allows {state.max_members}: they stay, and nobody can be invited.
            </Text>
          )}
          {state.tenants > state.max_tenants && (
            <Text size="sm" c="orange">
              The account has {state.tenants} tenants, and its plan allows {state.max_tenants}: they stay, and no new ones can be made.
            </Text>
          )}
          {mayChange.has(tenant.role) && <Form account={tenant.account_id} seen={plan.data} plans={plans.data.plans} onReload={() => void plan.refetch()} />}
        </Stack>
      ) : (
        <Skeleton height={90} radius="md" />
      )}
    </Panel>
  );
}

interface FormProps {
  account: string;
  seen: Seen<PlanState>;
  plans: readonly Plan[];
  onReload: () => void;
}

function Form({ account, seen, plans, onReload }: FormProps) {
  const state = seen.value;
  const client = useQueryClient();
  const [plan, setPlan] = useState<string | null>(null);
  const [effective, setEffective] = useState<PlanEffective>("now");
  // Limits, allowances and names of the plan are on most pages.
  const save = query.useMutation("put", "/v1/accounts/{account}/plan", {
    onSuccess: async () => {
      setPlan(null);
      await client.invalidateQueries();
    },
  });
  const change = (id: string, from: PlanEffective) =>
    save.mutate({ params: { path: { account } }, headers: ifSeen(seen), body: { plan: id, effective: from } });
  return (
    <>
      <Group align="end" preventGrowOverflow={false}>
        <Select
          label="Change to"
          placeholder="Another plan"
          data={plans.filter(({ id }) => id !== state.plan).map(({ id, name }) => ({ value: id, label: name }))}
          value={plan}
          onChange={setPlan}
        />
        <SegmentedControl
          aria-label="When"
          value={effective}
          onChange={(value) => setEffective(value as PlanEffective)}
          data={[
            { value: "now", label: "At once" },
            { value: "period_end", label: "At the period's end" },
          ]}
        />
        <Button disabled={plan === null} loading={save.isPending} onClick={() => plan !== null && change(plan, effective)}>
          Change plan
        </Button>
        {state.next_plan && (
          <Button variant="default" loading={save.isPending} onClick={() => change(state.plan, "now")}>
            Keep this plan
          </Button>
        )}
      </Group>
      <ChangedNotice error={save.error} what="the plan" onReload={onReload} />
      {save.isError && !isChanged(save.error) && (
        <Text size="sm" c="red" role="alert">
          {toProblem(save.error).message}
        </Text>
      )}
    </>
  );
}
