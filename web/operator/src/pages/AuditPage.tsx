import { TextInput } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";

import { answered } from "@/shared/api/connect";
import { EventsPanel } from "@/shared/audit/EventsPanel";
import { useAuditFilter } from "@/shared/audit/useAuditFilter";
import { verifyAll, verifyStep } from "@/shared/audit/verifyAll";
import { VerifyPanel } from "@/shared/audit/VerifyPanel";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Page } from "@/shared/ui/Page";
import { api, query } from "../api/client";

/** What operators did: found, downloaded and verified. */
export function AuditPage() {
  useDocumentTitle("Audit log", "Operators");
  const search = useAuditFilter();
  const events = query.useQuery(
    "get",
    "/operator/v1/audit",
    { params: { query: search.page } },
    { placeholderData: keepPreviousData },
  );
  const verification = useQuery({
    queryKey: ["verification"],
    queryFn: () =>
      verifyAll(async (after) => {
        const { data } = await api.GET("/operator/v1/audit/verification", { params: { query: { most: verifyStep, ...after } } });
        return answered(data);
      }),
    enabled: false,
    gcTime: 0,
    retry: false,
  });
  return (
    <Page title="Audit log" description="What operators did, and who tried to be one. Nobody can change or delete an event.">
      <VerifyPanel verification={verification} />
      <EventsPanel
        search={search}
        events={events}
        exportPath="/operator/v1/audit/export"
        tenant={
          <TextInput
            label="Tenant"
            placeholder="Its id"
            maxLength={64}
            value={search.fields.tenant}
            onChange={({ currentTarget }) => search.change({ tenant: currentTarget.value })}
          />
        }
      />
    </Page>
  );
}
