import { Button, Table, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { KeySquare, Plus } from "lucide-react";

import { formatAbsolute } from "@/shared/lib/format";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { ConfirmDialog } from "@/shared/ui/ConfirmDialog";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { EmptyState, ErrorState, SkeletonRows } from "@/shared/ui/states";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { query } from "../api/client";
import { tokensQuery, type Token } from "../api/queries";
import { CreateTokenDialog } from "./CreateTokenDialog";

/** The operator's own tokens for programs. */
export function TokensPage() {
  useDocumentTitle("Tokens", "Operators");
  const [creating, dialog] = useDisclosure(false);
  const tokens = useQuery(tokensQuery());
  const shown = tokens.data?.tokens ?? [];
  const create = (
    <Button leftSection={<Plus size={16} aria-hidden />} onClick={dialog.open}>
      New token
    </Button>
  );
  return (
    <Page
      title="Tokens"
      description="With these, programs use the operators' API as you, within their scopes. What they do is in the audit log under your name."
      actions={shown.length > 0 && create}
    >
      <Panel flush={shown.length > 0}>
        {tokens.isPending && <SkeletonRows rows={3} />}
        {tokens.isError && <ErrorState error={tokens.error} what="the tokens" onRetry={() => void tokens.refetch()} />}
        {tokens.isSuccess && shown.length === 0 && (
          <EmptyState icon={<KeySquare size={22} />} title="No tokens yet" action={create}>
            Make one for what watches or empties edges by itself.
          </EmptyState>
        )}
        {shown.length > 0 && (
          <WideTable label="Tokens">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Name</Table.Th>
                <Table.Th>Scopes</Table.Th>
                <Table.Th className={secondaryCell}>Last used</Table.Th>
                <Table.Th className={secondaryCell}>Ends</Table.Th>
                <Table.Td />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {shown.map((token) => (
                <TokenRow key={token.id} token={token} />
              ))}
            </Table.Tbody>
          </WideTable>
        )}
      </Panel>
      <CreateTokenDialog opened={creating} onClose={dialog.close} />
    </Page>
  );
}

function TokenRow({ token }: { token: Token }) {
  const queryClient = useQueryClient();
  const [asking, dialog] = useDisclosure(false);
  const revoke = query.useMutation("delete", "/operator/v1/tokens/{token}", {
    onSuccess: () => queryClient.invalidateQueries({ queryKey: tokensQuery().queryKey }),
  });
  return (
    <Table.Tr>
      <Table.Td>
        {token.name}
        <Text c="dimmed" size="sm">
          ends in <code>{token.hint}</code>
        </Text>
      </Table.Td>
      <Table.Td>{token.scopes.join(", ")}</Table.Td>
      <Table.Td className={secondaryCell}>{token.last_used_at ? <RelativeTime at={token.last_used_at} /> : "never"}</Table.Td>
      <Table.Td className={secondaryCell}>{formatAbsolute(Date.parse(token.expires_at))}</Table.Td>
      <Table.Td ta="right">
        <Button size="xs" variant="default" aria-label={`Revoke ${token.name}`} onClick={dialog.open}>
          Revoke
        </Button>
        <ConfirmDialog
          opened={asking}
          onClose={dialog.close}
          title={`Revoke ${token.name}?`}
          action="Revoke token"
          pending={revoke.isPending}
          error={revoke.error}
          onConfirm={() => revoke.mutate({ params: { path: { token: token.id } } })}
        >
          Whatever uses it is refused at once.
        </ConfirmDialog>
      </Table.Td>
    </Table.Tr>
  );
}
