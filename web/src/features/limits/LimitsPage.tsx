import { Anchor, Button, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { mayChangeLimits } from "@/shared/access";
import { limitsQuery } from "@/shared/api/queries";
import type { Limit, LimitList, Tenant } from "@/shared/api/types";
import { formatCount, formatLimit } from "@/shared/lib/format";
import { headroom } from "@/shared/lib/headroom";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { HeadroomTag } from "@/shared/ui/HeadroomTag";
import { Meter } from "@/shared/ui/Meter";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { LimitDialog } from "./LimitDialog";

/** Every limit of the tenant: its value, where it comes from, how much is used, what it refused. */
export function LimitsPage({ tenant }: { tenant: Tenant }) {
  useDocumentTitle("Limits", tenant.name);
  const limits = useQuery({ ...limitsQuery(tenant.slug), refetchInterval: 5_000 });
  const [edited, setEdited] = useState<Limit>();
  const editable = mayChangeLimits(tenant.role);
  return (
    <Page
      title="Limits"
      description="What is enforced for this tenant. A refusal names its limit on every surface: in completions, Close messages, answers of the REST API and webhooks."
    >
      {limits.isSuccess && <Allowances list={limits.data.allowances} />}
      <Panel flush={limits.isSuccess}>
        {limits.isPending && <SkeletonRows rows={10} height={44} />}
        {limits.isError && (
          <ErrorState error={limits.error} what="the limits" onRetry={() => void limits.refetch()} />
        )}
        {limits.isSuccess && (
          <WideTable label="Limits">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Limit</Table.Th>
                <Table.Th>In force</Table.Th>
                <Table.Th>Now</Table.Th>
                <Table.Th className={secondaryCell}>Peak today</Table.Th>
                <Table.Th>Refused today</Table.Th>
                {editable && <Table.Th aria-label="Change" />}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody className="tabular">
              {limits.data.limits.map((limit) => (
                <LimitRow key={limit.limit} limit={limit} onEdit={editable ? () => setEdited(limit) : undefined} />
              ))}
            </Table.Tbody>
          </WideTable>
        )}
      </Panel>
      <LimitDialog tenant={tenant} limit={edited} onClose={() => setEdited(undefined)} />
    </Page>
  );
}

const allowanceNames = { messages_per_month: "Messages", connection_minutes_per_month: "Connection minutes" };

/** What the plan allows the account in this period. */
function Allowances({ list }: { list: LimitList["allowances"] }) {
  return (
    <Panel title="This period" description="Allowances belong to the account and are shared by its tenants.">
      {list.map((allowance) => (
        <Meter
          key={allowance.limit}
          label={allowanceNames[allowance.limit]}
          used={allowance.used}
          allowed={allowance.max}
          format={formatCount}
          note={
            allowance.exceeded
              ? "used up: more is refused until the plan is larger or the period ends"
              : allowance.hard
                ? "more is refused"
                : "more costs the plan's price"
          }
        />
      ))}
    </Panel>
  );
}

function LimitRow({ limit, onEdit }: { limit: Limit; onEdit: (() => void) | undefined }) {
  return (
    <Table.Tr>
      <Table.Td>
        {limit.title}
        <Text size="xs" c="dimmed" ff="monospace" style={{ overflowWrap: "anywhere" }}>
          {limit.limit}
        </Text>
        {limit.counted === "edge" && (
          <Text size="xs" c="dimmed">
            on each edge by itself
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        {formatLimit(limit.max, limit.unit)} <Source limit={limit} />
      </Table.Td>
      <Table.Td title={limit.shown}>{limit.used === undefined ? "–" : <Use limit={limit} used={limit.used} />}</Table.Td>
      <Table.Td className={secondaryCell} title={limit.shown}>{limit.peak === undefined ? "–" : formatCount(limit.peak)}</Table.Td>
      <Table.Td>
        <Refusals limit={limit} />
      </Table.Td>
      {onEdit && (
        <Table.Td>
          {limit.override_by === "operator" ? (
            <Text size="xs" c="dimmed">
              set by an operator
            </Text>
          ) : (
            <Button variant="default" size="compact-sm" aria-label={`Change ${limit.title.toLowerCase()}`} onClick={onEdit}>
              Change
            </Button>
          )}
        </Table.Td>
      )}
    </Table.Tr>
  );
}

function Use({ limit, used }: { limit: Limit; used: number }) {
  return (
    <>
      {formatCount(used)} <HeadroomTag state={headroom(limit)} />
    </>
  );
}

function Source({ limit }: { limit: Limit }) {
  const { override } = limit;
  if (!override) return null;
  return (
    <>
      <Tag tone="warn">
        {override.dry_run ? `Trying ${formatLimit(override.max ?? limit.plan_max, limit.unit)}` : "Override"}
      </Tag>
      <Text size="xs" c="dimmed">
        plan: {formatLimit(limit.plan_max, limit.unit)}
        {!override.dry_run && override.max !== limit.max && (
          <>, which allows less than the {formatLimit(override.max ?? 0, limit.unit)} that were set</>
        )}
        {override.expires_at && (
          <>
            , back <RelativeTime at={override.expires_at} />
          </>
        )}
      </Text>
    </>
  );
}

function Refusals({ limit }: { limit: Limit }) {
  if (!limit.code) return <>–</>;
  return (
    <>
      {formatCount(limit.refused ?? 0)}
      {!!limit.would_refuse && ` (${formatCount(limit.would_refuse)} would be)`}
      {limit.last_hit_at && (
        <Text size="xs" c="dimmed">
          last <RelativeTime at={limit.last_hit_at} />
        </Text>
      )}
      {limit.doc && !!limit.refused && (
        <Anchor size="xs" underline="always" href={limit.doc} target="_blank" rel="noreferrer">
          {limit.code}
        </Anchor>
      )}
    </>
  );
}
