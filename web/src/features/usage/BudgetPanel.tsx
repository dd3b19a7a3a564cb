import { Button, Group, NumberInput, Select, Skeleton, Stack, Text } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { budgetQuery } from "@/shared/api/queries";
import { ifSeen, type Seen } from "@/shared/api/seen";
import type { BudgetAction, BudgetState, Tenant } from "@/shared/api/types";
import { formatCount } from "@/shared/lib/format";
import { ChangedNotice, isChanged } from "@/shared/ui/ChangedNotice";
import { Panel } from "@/shared/ui/Page";
import { Tag } from "@/shared/ui/Tag";

const actions: readonly { value: BudgetAction; label: string }[] = [
  { value: "notify", label: "Only tell us" },
  { value: "refuse_new_connections", label: "Refuse new connections" },
  { value: "refuse_publish", label: "Refuse messages" },
  { value: "read_only", label: "Refuse messages and changes" },
  { value: "stop", label: "Stop everything" },
];
const day = new Intl.DateTimeFormat("en", { month: "long", day: "numeric", timeZone: "UTC" });
const mayChange = new Set(["owner", "admin", "billing"]);

/** What the account wants to use in a period, and what happens then. */
export function BudgetPanel({ tenant }: { tenant: Tenant }) {
  const budget = useQuery(budgetQuery(tenant.account_id));
  return (
    <Panel
      title="Budget"
      description="Of the account, for all its tenants. Owners and billing members get a mail at 50, 80 and 100 %."
      aside={budget.data?.value.exceeded && <Tag tone="bad">Used up</Tag>}
    >
      {budget.isError ? (
        <Text size="sm" c="dimmed">
          The budget can't be read now.
        </Text>
      ) : budget.data ? (
        <Form
          key={JSON.stringify(budget.data.value.budget)}
          account={tenant.account_id}
          seen={budget.data}
          readOnly={!mayChange.has(tenant.role)}
          onReload={() => void budget.refetch()}
        />
      ) : (
        <Skeleton height={90} radius="md" />
      )}
    </Panel>
  );
}

const amount = (value: number | string) => (typeof value === "number" && value > 0 ? value : undefined);

interface FormProps {
  account: string;
  seen: Seen<BudgetState>;
  readOnly: boolean;
  onReload: () => void;
}

function Form({ account, seen, readOnly, onReload }: FormProps) {
  const state = seen.value;
  const client = useQueryClient();
  const [messages, setMessages] = useState<number | undefined>(state.budget.messages);
  const [minutes, setMinutes] = useState<number | undefined>(state.budget.connection_minutes);
  const [action, setAction] = useState<BudgetAction>(state.budget.action);
  const save = query.useMutation("put", "/v1/accounts/{account}/budget", {
    onSuccess: () => client.invalidateQueries({ queryKey: budgetQuery(account).queryKey }),
  });
  const submit = () =>
    save.mutate({
      params: { path: { account } },
      headers: ifSeen(seen),
      body: {
        action,
        ...(messages !== undefined && { messages }),
        ...(minutes !== undefined && { connection_minutes: minutes }),
        ...(state.budget.steps && { steps: state.budget.steps }),
      },
    });
  return (
    <Stack gap="sm">
      <Text size="sm">
        {formatCount(state.messages_used)} messages and {formatCount(state.connection_minutes_used)} connection minutes used in the
        period that ends on {day.format(new Date(state.to))}.
      </Text>
      {state.hard_messages && (
        <Text size="sm" {...(state.messages_used >= state.messages_allowed && { c: "red", role: "alert" })}>
          The plan allows {formatCount(state.messages_allowed)} messages in this period and has no price for more:
          {state.messages_used >= state.messages_allowed ? " messages are refused now." : " beyond them messages are refused."} A
          larger plan is in force at once.
        </Text>
      )}
      <Group align="end" grow preventGrowOverflow={false}>
        <NumberInput
          label="Messages"
          placeholder="No limit"
          min={1}
          allowDecimal={false}
          thousandSeparator=","
          disabled={readOnly}
          value={messages ?? ""}
          onChange={(value) => setMessages(amount(value))}
        />
        <NumberInput
          label="Connection minutes"
          placeholder="No limit"
          min={1}
          allowDecimal={false}
          thousandSeparator=","
          disabled={readOnly}
          value={minutes ?? ""}
          onChange={(value) => setMinutes(amount(value))}
        />
        <Select
          label="At 100 %"
          data={[...actions]}
          allowDeselect={false}
          disabled={readOnly}
          value={action}
          onChange={(value) => value && setAction(value as BudgetAction)}
        />
        {!readOnly && (
          <Button onClick={submit} loading={save.isPending}>
            Save budget
          </Button>
        )}
      </Group>
      <ChangedNotice error={save.error} what="the budget" onReload={onReload} />
      {save.isError && !isChanged(save.error) && (
        <Text size="sm" c="red" role="alert">
          {toProblem(save.error).message}
        </Text>
      )}
      {state.notices.map((notice) => (
        <Text size="sm" c="dimmed" key={`${notice.meter} ${notice.budget} ${notice.step}`}>
          {day.format(new Date(notice.told_at))}: {notice.step} % of {formatCount(notice.budget)}{" "}
          {notice.meter === "messages" ? "messages" : "connection minutes"} reached.
        </Text>
      ))}
    </Stack>
  );
}
