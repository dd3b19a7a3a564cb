import { Button, Table } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";

const sessionsQuery = () => query.queryOptions("get", "/v1/sessions", {});

/** Where the user is signed in. */
export function SessionsPanel() {
  const queryClient = useQueryClient();
  const sessions = useQuery(sessionsQuery());
  const onSuccess = () => queryClient.invalidateQueries({ queryKey: sessionsQuery().queryKey });
  const end = query.useMutation("delete", "/v1/sessions/{session}", { onSuccess });
  const others = query.useMutation("delete", "/v1/sessions", { onSuccess });
  const error = end.error ?? others.error;
  return (
    <Panel
      title="Sessions"
      description="Each ends by itself after 30 minutes without use, a remembered one after two weeks."
      flush={sessions.isSuccess}
      aside={
        sessions.data && sessions.data.sessions.length > 1 ? (
          <Button size="xs" variant="default" loading={others.isPending} onClick={() => others.mutate({})}>
            End all others
          </Button>
        ) : undefined
      }
    >
      {error && <FormAlert message={toProblem(error).message} />}
      {sessions.isPending && <SkeletonRows rows={2} />}
      {sessions.isError && (
        <ErrorState error={sessions.error} what="the sessions" onRetry={() => void sessions.refetch()} />
      )}
      {sessions.isSuccess && (
        <WideTable label="Sessions">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Device</Table.Th>
              <Table.Th className={secondaryCell}>Address</Table.Th>
              <Table.Th>Last seen</Table.Th>
              <Table.Td />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {sessions.data.sessions.map((each) => (
              <Table.Tr key={each.id}>
                <Table.Td>
                  {each.device} {each.current && <Tag tone="good">this one</Tag>}
                  {each.remembered && <Tag>remembered</Tag>}
                </Table.Td>
                <Table.Td className={secondaryCell}>{each.ip}</Table.Td>
                <Table.Td>
                  <RelativeTime at={each.last_seen_at} />
                </Table.Td>
                <Table.Td ta="right">
                  {!each.current && (
                    <Button
                      size="xs"
                      variant="default"
                      aria-label={`End the session on ${each.device}`}
                      loading={end.isPending && end.variables.params.path.session === each.id}
                      onClick={() => end.mutate({ params: { path: { session: each.id } } })}
                    >
                      End
                    </Button>
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </WideTable>
      )}
    </Panel>
  );
}
