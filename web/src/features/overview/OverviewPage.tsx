import { Anchor, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";

import { activityQuery, limitsQuery, plansQuery, usageQuery } from "@/shared/api/queries";
import type { Tenant } from "@/shared/api/types";
import { formatCount, formatLimit } from "@/shared/lib/format";
import { headroom } from "@/shared/lib/headroom";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { usePollInterval } from "@/shared/live/LiveProvider";
import { CopyField } from "@/shared/ui/CopyField";
import { Figure, Figures } from "@/shared/ui/Figures";
import { HeadroomTag } from "@/shared/ui/HeadroomTag";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";

/** The tenant at a glance. */
export function OverviewPage({ tenant }: { tenant: Tenant }) {
  useDocumentTitle("Overview", tenant.name);
  const refetchInterval = usePollInterval(5_000);
  const activity = useQuery({ ...activityQuery(tenant.slug), refetchInterval });
  const usage = useQuery({ ...usageQuery(tenant.slug, "minute"), refetchInterval });
  const plans = useQuery(plansQuery());
  const plan = plans.data?.plans.find(({ id }) => id === tenant.plan)?.name ?? tenant.plan;
  const quiet = activity.isSuccess && !activity.data.first_message_at;

  return (
    <Page
      title={tenant.name}
      description={quiet ? <NothingYet slug={tenant.slug} /> : undefined}
      actions={
        <>
          <Tag>{plan} plan</Tag>
          <Tag tone={tenant.status === "active" ? "good" : "bad"}>
            {tenant.status === "active" ? "Active" : "Suspended"}
          </Tag>
        </>
      }
    >
      <Panel>
        <CopyField label="Endpoint" value={tenant.endpoint} />
      </Panel>
      {activity.isError || usage.isError ? (
        <ErrorState
          error={activity.error ?? usage.error}
          what="the activity"
          onRetry={() => {
            void activity.refetch();
            void usage.refetch();
          }}
        />
      ) : (
        <Figures>
          <Figure
            label="Connections now"
            value={activity.data && formatCount(activity.data.connections_now)}
            note="over all hubs"
          />
          <Figure
            label="Messages, last hour"
            value={usage.data && formatCount(usage.data.totals.messages)}
            note={
              usage.data &&
              `${formatCount(usage.data.totals.messages_accepted)} accepted, ${formatCount(usage.data.totals.messages_delivered)} delivered`
            }
          />
          <Figure
            label="Last message"
            value={
              activity.data &&
              (activity.data.last_message_at ? <RelativeTime at={activity.data.last_message_at} /> : "None yet")
            }
            note="accepted from REST or a client"
          />
        </Figures>
      )}
      <LimitsPanel slug={tenant.slug} />
    </Page>
  );
}

function NothingYet({ slug }: { slug: string }) {
  return (
    <>
      Nothing has been published yet.{" "}
      <Anchor
        underline="always"
        renderRoot={(props) => <Link {...props} to="/tenants/$tenant/quick-start" params={{ tenant: slug }} />}
      >
        Send a first message
      </Anchor>
      .
    </>
  );
}

function LimitsPanel({ slug }: { slug: string }) {
  const limits = useQuery({ ...limitsQuery(slug), refetchInterval: 15_000 });
  return (
    <Panel
      title="Limits"
      description={
        <>
          The limits whose use is kept.{" "}
          <Anchor underline="always" renderRoot={(props) => <Link {...props} to="/tenants/$tenant/limits" params={{ tenant: slug }} />}>
            All limits
          </Anchor>
        </>
      }
      flush={limits.isSuccess}
    >
      {limits.isPending && <SkeletonRows rows={6} height={36} />}
      {limits.isError && (
        <ErrorState error={limits.error} what="the limits" onRetry={() => void limits.refetch()} />
      )}
      {limits.isSuccess && (
        <WideTable label="Limits">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Limit</Table.Th>
                <Table.Th>In force</Table.Th>
                <Table.Th>State</Table.Th>
                <Table.Th className={secondaryCell}>From</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody className="tabular">
              {limits.data.limits.filter(({ used }) => used !== undefined).map((limit) => (
                <Table.Tr key={limit.limit}>
                  <Table.Td>
                    {limit.title}
                    <Text size="xs" c="dimmed" ff="monospace" style={{ overflowWrap: "anywhere" }}>
                      {limit.limit}
                    </Text>
                  </Table.Td>
                  <Table.Td>
                    {formatCount(limit.used ?? 0)} of {formatLimit(limit.max, limit.unit)}
                  </Table.Td>
                  <Table.Td>
                    <HeadroomTag state={headroom(limit)} />
                  </Table.Td>
                  <Table.Td className={secondaryCell}>{limit.source === "plan" ? "Plan" : "Override"}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
        </WideTable>
      )}
    </Panel>
  );
}
