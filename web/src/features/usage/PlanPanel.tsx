import { Button, Group, SegmentedControl, Select, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { planQuery, plansQuery } from "@/shared/api/queries";
import type { Plan, PlanEffective, PlanState, Tenant } from "@/shared/api/types";
import { Panel } from "@/shared/ui/Page";
import { Tag } from "@/shared/ui/Tag";

const day = new Intl.DateTimeFormat("en", { month: "long", day: "numeric", timeZone: "UTC" });
const mayChange = new Set(["owner", "admin", "billing"]);

/** The plan that the account has, and its change. */
export function PlanPanel({ tenant }: { tenant: Tenant }) {
  const plan = useQuery(planQuery(tenant.account_id));
  const plans = useQuery(plansQuery());
  const nameOf = (id: string) => plans.data?.plans.find((one) => one.id === id)?.name ?? id;
  return (
    <Panel
      title="Plan"
      description="Of the account, for all its tenants. A change at once shares this period by time: each plan costs and allows its part."
      aside={plan.data && <Tag>{nameOf(plan.data.plan)}</Tag>}
    >
      {plan.isError || plans.isError ? (
        <Text size="sm" c="dimmed">
          The plan can't be read now.
        </Text>
      ) : plan.data && plans.data ? (
        <Stack gap="sm">
          <Text size="sm">
            {nameOf(plan.data.plan)} since {day.format(new Date(plan.data.since))}.{" "}
            {plan.data.next_plan && plan.data.next_plan_at
              ? `${nameOf(plan.data.next_plan)} follows on ${day.format(new Date(plan.data.next_plan_at))}.`
              : `The period ends on ${day.format(new Date(plan.data.to))}.`}
          </Text>
          {plan.data.tenants > plan.data.max_tenants && (
            <Text size="sm" c="orange">
              The account has {plan.data.tenants} tenants, and its plan allows {plan.data.max_tenants}: they stay, and no new ones can be made.
            </Text>
          )}
          {mayChange.has(tenant.role) && <Form account={tenant.account_id} state={plan.data} plans={plans.data.plans} />}
        </Stack>
      ) : (
        <Skeleton height={90} radius="md" />
      )}
    </Panel>
  );
}

function Form({ account, state, plans }: { account: string; state: PlanState; plans: readonly Plan[] }) {
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
  const change = (id: string, from: PlanEffective) => save.mutate({ params: { path: { account } }, body: { plan: id, effective: from } });
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
      {save.isError && (
        <Text size="sm" c="red" role="alert">
          {toProblem(save.error).message}
        </Text>
      )}
    </>
  );
}
