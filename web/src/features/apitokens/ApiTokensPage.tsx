import { Button, Table, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { KeySquare, Plus } from "lucide-react";

import { mayCreateToken, mayManage, roleLabel } from "@/shared/access";
import { query } from "@/shared/api/client";
import type { Account, ApiToken } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { ConfirmDialog } from "@/shared/ui/ConfirmDialog";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { EmptyState, ErrorState, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { CreateTokenDialog } from "./CreateTokenDialog";
import { accountTokensQuery, ownTokensQuery } from "./queries";

/** The API tokens of an account: one's own, or everybody's for whoever manages them. */
export function ApiTokensPage({ account }: { account: Account }) {
  useDocumentTitle("API tokens", account.name);
  const [creating, dialog] = useDisclosure(false);
  const manages = mayManage(account.role);
  const all = useQuery({ ...accountTokensQuery(account.id), enabled: manages });
  const own = useQuery({ ...ownTokensQuery(), enabled: !manages });
  const tokens = manages ? all : own;
  const shown = tokens.data?.api_tokens.filter(({ account_id }) => account_id === account.id) ?? [];
  const create = mayCreateToken(account.role) && (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={dialog.open}>
      New token
    </Button>
  );

  return (
    <Page
      title="API tokens"
      description="They let programs use the control plane: a personal one as you, with your role; a service token as the account."
      actions={shown.length > 0 && create}
    >
      <Panel flush={shown.length > 0}>
        {tokens.isPending && <SkeletonRows rows={3} />}
        {tokens.isError && (
          <ErrorState error={tokens.error} what="the API tokens" onRetry={() => void tokens.refetch()} />
        )}
        {tokens.isSuccess && shown.length === 0 && (
          <EmptyState icon={<KeySquare size={22} />} title="No API tokens yet" action={create || undefined}>
            Make one for your pipeline or your scripts. Connecting and publishing take an access key of a tenant
            instead.
          </EmptyState>
        )}
        {shown.length > 0 && (
          <WideTable label="API tokens">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Name</Table.Th>
                <Table.Th>Acts as</Table.Th>
                <Table.Th className={secondaryCell}>Scopes</Table.Th>
                <Table.Th className={secondaryCell}>Last used</Table.Th>
                <Table.Th className={secondaryCell}>Ends</Table.Th>
                <Table.Td />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {shown.map((token) => (
                <TokenRow key={token.id} account={account} token={token} everybodys={manages} />
              ))}
            </Table.Tbody>
          </WideTable>
        )}
      </Panel>
      <CreateTokenDialog account={account} opened={creating} onClose={dialog.close} />
    </Page>
  );
}

function TokenRow({ account, token, everybodys }: { account: Account; token: ApiToken; everybodys: boolean }) {
  const queryClient = useQueryClient();
  const [asking, dialog] = useDisclosure(false);
  const onSuccess = () =>
    queryClient.invalidateQueries({
      queryKey: (everybodys ? accountTokensQuery(account.id) : ownTokensQuery()).queryKey,
    });
  const own = query.useMutation("delete", "/v1/api-tokens/{api_token}", { onSuccess });
  const any = query.useMutation("delete", "/v1/accounts/{account}/api-tokens/{api_token}", { onSuccess });
  const revoke = () =>
    everybodys
      ? any.mutate({ params: { path: { account: account.id, api_token: token.id } } })
      : own.mutate({ params: { path: { api_token: token.id } } });
  return (
    <Table.Tr>
      <Table.Td>
        {token.name}
        <Text c="dimmed" size="sm">
          ends in <code>{token.hint}</code>
        </Text>
      </Table.Td>
      <Table.Td>
        {token.kind === "service" ? <Tag>service</Tag> : token.user_email}
        <Text c="dimmed" size="sm">
          {roleLabel(token.role)}
        </Text>
      </Table.Td>
      <Table.Td className={secondaryCell}>{token.scopes.length > 0 ? token.scopes.join(", ") : "all of its role"}</Table.Td>
      <Table.Td className={secondaryCell}>
        {token.last_used_at ? <RelativeTime at={token.last_used_at} /> : "never"}
      </Table.Td>
      <Table.Td className={secondaryCell}>
        {token.expires_at ? new Date(token.expires_at).toLocaleDateString() : "never"}
      </Table.Td>
      <Table.Td ta="right">
        <Button size="xs" variant="default" aria-label={`Revoke ${token.name}`} onClick={dialog.open}>
          Revoke
        </Button>
        <ConfirmDialog
          opened={asking}
          onClose={dialog.close}
          title={`Revoke ${token.name}?`}
          action="Revoke token"
          pending={own.isPending || any.isPending}
          error={own.error ?? any.error}
          onConfirm={revoke}
        >
          Whatever uses it is refused at once.
        </ConfirmDialog>
      </Table.Td>
    </Table.Tr>
  );
}
