import { SegmentedControl, Skeleton, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { plansQuery, usageQuery } from "@/shared/api/queries";
import type { Tenant, Usage } from "@/shared/api/types";
import { formatBytes, formatCompact, formatCount } from "@/shared/lib/format";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { useLiveStatus, usePollInterval } from "@/shared/live/LiveProvider";
import { Figure, Figures } from "@/shared/ui/Figures";
import { Meter } from "@/shared/ui/Meter";
import { Page, Panel } from "@/shared/ui/Page";
import { SignalLamp } from "@/shared/ui/SignalLamp";
import { ErrorState } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { BudgetPanel } from "./BudgetPanel";
import { Chart } from "./Chart";
import { LedgerPanel } from "./LedgerPanel";
import { PlanPanel } from "./PlanPanel";
import { rangeInfo, ranges, type Range } from "./ranges";
import { refusals, toColumns, type Series } from "./series";
import { TopPanel } from "./TopPanel";
import classes from "./UsagePage.module.css";

const messageSeries: readonly Series[] = [
  { label: "Accepted", color: "--sb-chart-1", pick: (values) => values.messages_accepted },
  { label: "Delivered", color: "--sb-chart-2", pick: (values) => values.messages_delivered },
];
const connectionSeries: readonly Series[] = [
  { label: "Most at once", color: "--sb-chart-1", pick: (values) => values.peak_connections },
];
const byteSeries: readonly Series[] = [
  { label: "Delivered", color: "--sb-chart-2", pick: (values) => values.delivered_bytes },
  { label: "Received", color: "--sb-chart-3", pick: (values) => values.received_bytes },
];

interface Props {
  tenant: Tenant;
  range: Range;
  onRange: (range: Range) => void;
}

/** What the tenant used: against its plan, and over time. */
export function UsagePage({ tenant, range, onRange }: Props) {
  useDocumentTitle("Usage", tenant.name);
  const { step, words } = rangeInfo[range];
  const refetchInterval = usePollInterval(5_000);
  const usage = useQuery({ ...usageQuery(tenant.slug, step), refetchInterval });

  return (
    <Page
      title="Usage"
      description="What you see here is what is billed. Pings, handshakes, resends and refusals are never counted."
      actions={<LiveTag />}
    >
      {usage.isError ? (
        <ErrorState error={usage.error} what="the usage" onRetry={() => void usage.refetch()} />
      ) : (
        <>
          <Allowance usage={usage.data} />
          <div className={classes["range"]}>
            <SegmentedControl
              aria-label="Time range"
              value={range}
              onChange={onRange}
              withItemsBorders={false}
              className={classes["segments"] ?? ""}
              data={ranges.map((value) => ({ value, label: rangeInfo[value].label }))}
            />
            <Text size="sm" c="dimmed">
              Numbers and charts below cover {words}. The newest point is still counting.
            </Text>
          </div>
          <Totals usage={usage.data} />
          <Charts usage={usage.data} range={range} />
          <TopPanel tenant={tenant} step={step} words={words} />
          {usage.data && <Refusals refused={usage.data.totals.refused} />}
          <PlanPanel tenant={tenant} />
          <BudgetPanel tenant={tenant} />
          <LedgerPanel tenant={tenant} />
        </>
      )}
    </Page>
  );
}

function LiveTag() {
  const status = useLiveStatus();
  return (
    <span role="status">
      <Tag tone={status === "live" ? "good" : "neutral"}>
        <SignalLamp aspect={status === "live" ? "clear" : "waiting"} size={7} />
        {status === "live" ? "Live" : status === "connecting" ? "Connecting" : "Every 5 s"}
      </Tag>
    </span>
  );
}

function Allowance({ usage }: { usage: Usage | undefined }) {
  const plans = useQuery(plansQuery());
  const plan = plans.data?.plans.find(({ id }) => id === usage?.month.plan)?.name;
  const month = usage?.month;
  return (
    <Panel
      title="This period"
      description="Allowances belong to the account and are shared by its tenants."
      aside={plan && <Tag>{plan} plan</Tag>}
    >
      <div className={classes["meters"]}>
        {month ? (
          <>
            <Meter
              label="Messages"
              used={month.account_messages}
              allowed={month.messages_allowed}
              format={formatCount}
              note={`${formatCount(month.messages)} by this tenant`}
            />
            <Meter
              label="Connection minutes"
              used={month.account_connection_minutes}
              allowed={month.connection_minutes_allowed}
              format={formatCount}
              note={`${formatCount(month.connection_minutes)} by this tenant`}
            />
          </>
        ) : (
          <>
            <Skeleton height={70} radius="md" />
            <Skeleton height={70} radius="md" />
          </>
        )}
      </div>
    </Panel>
  );
}

function Totals({ usage }: { usage: Usage | undefined }) {
  const totals = usage?.totals;
  return (
    <Figures>
      <Figure label="Messages" value={totals && formatCount(totals.messages)} note="accepted and delivered" />
      <Figure
        label="Most connections"
        value={totals && formatCount(totals.peak_connections)}
        note={totals && `${formatCount(totals.connections_opened)} opened`}
      />
      <Figure
        label="Data delivered"
        value={totals && formatBytes(totals.delivered_bytes)}
        note={totals && `${formatBytes(totals.received_bytes)} received`}
      />
    </Figures>
  );
}

function Charts({ usage, range }: { usage: Usage | undefined; range: Range }) {
  const { per, step } = rangeInfo[range];
  const daily = step === "day";
  const points = usage?.points;
  const messages = useMemo(() => points && toColumns(points, messageSeries), [points]);
  const connections = useMemo(() => points && toColumns(points, connectionSeries), [points]);
  const bytes = useMemo(() => points && toColumns(points, byteSeries), [points]);
  const waiting = <Skeleton height={230} radius="md" />;
  const titles = { messages: `Messages per ${per}`, connections: "Connections", bytes: `Data per ${per}` };
  return (
    <>
      <Panel title={titles.messages}>
        {messages ? (
          <Chart title={titles.messages} series={messageSeries} columns={messages} format={formatCompact} floor={5} daily={daily} />
        ) : (
          waiting
        )}
      </Panel>
      <div className={classes["pair"]}>
        <Panel title={titles.connections}>
          {connections ? (
            <Chart
              title={titles.connections}
              series={connectionSeries}
              columns={connections}
              format={formatCompact}
              floor={5} daily={daily}
            />
          ) : (
            waiting
          )}
        </Panel>
        <Panel title={titles.bytes}>
          {bytes ? (
            <Chart title={titles.bytes} series={byteSeries} columns={bytes} format={formatBytes} floor={1024} daily={daily} binary />
          ) : (
            waiting
          )}
        </Panel>
      </div>
    </>
  );
}

function Refusals({ refused }: { refused: Readonly<Record<string, number>> }) {
  const list = refusals(refused);
  if (list.length === 0) return null;
  return (
    <Panel title="Refused" description="By code. Refusals are free.">
      <dl className={classes["refusals"]}>
        {list.map(({ code, count }) => (
          <div key={code} className={classes["refusal"]}>
            <dt>
              <code>{code}</code>
            </dt>
            <dd className="tabular">{formatCount(count)}</dd>
          </div>
        ))}
      </dl>
    </Panel>
  );
}
