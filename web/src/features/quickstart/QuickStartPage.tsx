import { Button, Select, Skeleton, Tabs, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { RefreshCw } from "lucide-react";
import { useState } from "react";

import { hubsQuery } from "@/shared/api/queries";
import type { Tenant } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { CodeBlock } from "@/shared/ui/CodeBlock";
import { CopyField } from "@/shared/ui/CopyField";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState } from "@/shared/ui/states";
import { FreshKey } from "./FreshKey";
import classes from "./QuickStartPage.module.css";
import { ReceiverPanel } from "./ReceiverPanel";
import { SignalPanel } from "./SignalPanel";
import { browserSnippet, curlSnippet, installSnippet, nodeSnippet } from "./snippets";
import { useTokens, type Tokens } from "./useTokens";

/** From nothing to a first message, with everything filled in. */
export function QuickStartPage({ tenant }: { tenant: Tenant }) {
  useDocumentTitle("Quick start", tenant.name);
  const hubs = useQuery(hubsQuery(tenant.slug));
  const names = hubs.data?.hubs.map(({ name }) => name) ?? [];
  const [chosen, setChosen] = useState<string>();
  const hub = chosen ?? (names.includes("chat") ? "chat" : (names[0] ?? "chat"));
  const tokens = useTokens(tenant, hub);

  return (
    <Page
      title="Quick start"
      description="Two steps to a first message. Addresses and tokens below are real: copy and run."
      actions={
        names.length > 1 && (
          <Select
            aria-label="Hub"
            data={names}
            value={hub}
            allowDeselect={false}
            onChange={(name) => name && setChosen(name)}
          />
        )
      }
    >
      <FreshKey tenant={tenant} />
      <div className={classes["grid"]}>
        <div className={classes["signal"]}>
          <SignalPanel tenant={tenant} />
        </div>
        <div className={classes["steps"]}>
          {tokens.isError ? (
            <ErrorState error={tokens.error} what="tokens for the snippets" onRetry={tokens.renew} />
          ) : (
            <Steps tokens={tokens.data} />
          )}
        </div>
        <div className={classes["receiver"]}>
          <ReceiverPanel key={hub} hub={hub} tokens={tokens.data} />
        </div>
        {!tokens.isError && (
          <div className={classes["credentials"]}>
            <Credentials tokens={tokens.data} onRenew={tokens.renew} endpoint={tenant.endpoint} />
          </div>
        )}
      </div>
    </Page>
  );
}

function Steps({ tokens }: { tokens: Tokens | undefined }) {
  return (
    <>
      <Panel
        title="1. Connect a client"
        description="Any SignalR client works, unmodified. This one prints what arrives."
      >
        <Tabs defaultValue="node" variant="pills" keepMounted={false}>
          <Tabs.List mb="sm" aria-label="Client">
            <Tabs.Tab value="node">Node.js</Tabs.Tab>
            <Tabs.Tab value="browser">Browser</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="node">
            <div className={classes["codes"]}>
              <CodeBlock title="shell" what="install command" code={installSnippet} />
              {tokens ? (
                <CodeBlock title="receive.mjs" what="Node.js client" code={nodeSnippet(tokens)} />
              ) : (
                <Skeleton height={361} radius="md" />
              )}
              <CodeBlock title="shell" what="run command" code="node receive.mjs" />
            </div>
          </Tabs.Panel>
          <Tabs.Panel value="browser">
            {tokens ? (
              <CodeBlock title="index.html" what="browser client" code={browserSnippet(tokens)} />
            ) : (
              <Skeleton height={540} radius="md" />
            )}
          </Tabs.Panel>
        </Tabs>
      </Panel>
      <Panel title="2. Publish a message" description="One HTTP call, from any backend or this shell.">
        {tokens ? (
          <CodeBlock title="shell" what="curl command" code={curlSnippet(tokens)} />
        ) : (
          <Skeleton height={157} radius="md" />
        )}
      </Panel>
    </>
  );
}

interface CredentialsProps {
  tokens: Tokens | undefined;
  endpoint: string;
  onRenew: () => void;
}

function Credentials({ tokens, endpoint, onRenew }: CredentialsProps) {
  return (
    <Panel title="Filled in above">
      <div className={classes["values"]}>
        <CopyField label="Endpoint" value={endpoint} />
        {tokens ? (
          <>
            <CopyField label="Client token" value={tokens.clientToken} />
            <CopyField label="REST token" value={tokens.restToken} />
          </>
        ) : (
          <>
            <Skeleton height={69} radius="md" />
            <Skeleton height={69} radius="md" />
          </>
        )}
        <div className={classes["expiry"]}>
          <Text size="sm" c="dimmed">
            {tokens ? (
              <>
                Both tokens end <RelativeTime at={tokens.expiresAt} />.
              </>
            ) : (
              "Getting tokens…"
            )}
          </Text>
          <Button
            variant="default"
            size="xs"
            leftSection={<RefreshCw size={14} aria-hidden />}
            disabled={!tokens}
            onClick={onRenew}
          >
            New tokens
          </Button>
        </div>
      </div>
    </Panel>
  );
}
