import { Select } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";

import { api, query } from "@/shared/api/client";
import { answered } from "@/shared/api/connect";
import { tenantsQuery } from "@/shared/api/queries";
import type { Account } from "@/shared/api/types";
import { EventsPanel } from "@/shared/audit/EventsPanel";
import { useAuditFilter } from "@/shared/audit/useAuditFilter";
import { verifyAll, verifyStep } from "@/shared/audit/verifyAll";
import { VerifyPanel } from "@/shared/audit/VerifyPanel";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Page } from "@/shared/ui/Page";

/** Who did what in an account: found, downloaded and verified. */
export function AuditPage({ account }: { account: Account }) {
  useDocumentTitle("Audit log", account.name);
  const search = useAuditFilter();
  const path = { account: account.id };
  const { data: tenants } = useQuery(tenantsQuery());
  const events = query.useQuery(
    "get",
    "/v1/accounts/{account}/audit",
    { params: { path, query: search.page } },
    { placeholderData: keepPreviousData },
  );
  const verification = useQuery({
    queryKey: ["verification", account.id],
    queryFn: () =>
      verifyAll(async (after) => {
        const { data } = await api.GET("/v1/accounts/{account}/audit/verification", { params: { path, query: { most: verifyStep, ...after } } });
        return answered(data);
      }),
    enabled: false,
    gcTime: 0,
    retry: false,
  });
  return (
    <Page title="Audit log" description={`Who did what in the account ${account.name}. Nobody can change or delete an event.`}>
      <VerifyPanel verification={verification} />
      <EventsPanel
        search={search}
        events={events}
        exportPath={`/v1/accounts/${encodeURIComponent(account.id)}/audit/export`}
        tenant={
          <Select
            label="Tenant"
            clearable
            placeholder="All"
            value={search.fields.tenant || null}
            onChange={(tenant) => search.change({ tenant: tenant ?? "" })}
            data={(tenants?.tenants ?? []).filter(({ account_id }) => account_id === account.id).map(({ id, name }) => ({ value: id, label: name }))}
          />
        }
      />
    </Page>
  );
}
