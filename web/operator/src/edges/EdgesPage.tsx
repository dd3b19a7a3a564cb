import { Button, Checkbox, Select, Table, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Server } from "lucide-react";
import { useState } from "react";

import { toProblem } from "@/shared/api/problem";
import { formatCount } from "@/shared/lib/format";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { EmptyState, ErrorState, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { query } from "../api/client";
import { edgesQuery, type Edge } from "../api/queries";
import { ReasonDialog } from "../ui/ReasonDialog";
import { lagOf, shortRevision, stateOf } from "./state";

/** How often the list is read again while it is on the page. */
const refreshEvery = 3_000;

/** The edges that live: what they are at, and draining them. */
export function EdgesPage() {
  useDocumentTitle("Edges", "Operators");
  const edges = useQuery({ ...edgesQuery(), refetchInterval: refreshEvery });
  return (
    <Page
      title="Edges"
      description="What live edges say of themselves, read again every few seconds. A drained edge goes on running; what takes an edge away is the end of its process."
    >
      <Panel flush={edges.isSuccess && edges.data.edges.length > 0}>
        {edges.isPending && <SkeletonRows rows={3} />}
        {edges.isError && <ErrorState error={edges.error} what="the edges" onRetry={() => void edges.refetch()} />}
        {edges.isSuccess && edges.data.edges.length === 0 && (
          <EmptyState icon={<Server size={22} />} title="No edge lives">
            Nobody can connect. Start one: docs/deployment.md.
          </EmptyState>
        )}
        {edges.isSuccess && edges.data.edges.length > 0 && (
          <WideTable label="Edges">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Edge</Table.Th>
                <Table.Th>State</Table.Th>
                <Table.Th>Connections</Table.Th>
                <Table.Th>Lag</Table.Th>
                <Table.Th className={secondaryCell}>Version</Table.Th>
                <Table.Th className={secondaryCell}>Started</Table.Th>
                <Table.Th aria-label="Drain" />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody className="tabular">
              {edges.data.edges.map((edge) => (
                <EdgeRow key={edge.id} edge={edge} />
              ))}
            </Table.Tbody>
          </WideTable>
        )}
      </Panel>
    </Page>
  );
}

function EdgeRow({ edge }: { edge: Edge }) {
  // The edge as it was when the dialog was opened: what is asked doesn't change under the pointer.
  const [asked, setAsked] = useState<Edge>();
  const { label, tone } = stateOf(edge);
  return (
    <Table.Tr>
      <Table.Td>
        <span style={{ whiteSpace: "nowrap" }}>{edge.address}</span>
        <Text size="xs" c="dimmed" ff="monospace" className={secondaryCell}>
          {edge.id}
        </Text>
      </Table.Td>
      <Table.Td>
        <Tag tone={tone}>{label}</Tag>
        {edge.drained_until && !edge.draining && (
          <Text size="xs" c="dimmed">
            serves again <RelativeTime at={edge.drained_until} />
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        {edge.connections === undefined ? "–" : formatCount(edge.connections)}
        {!!edge.server_connections && (
          <Text size="xs" c="dimmed">
            {formatCount(edge.server_connections)} of app servers
          </Text>
        )}
      </Table.Td>
      <Table.Td>{lagOf(edge)}</Table.Td>
      <Table.Td className={secondaryCell}>
        {edge.version ?? "–"}
        {edge.revision && (
          <Text size="xs" c="dimmed" ff="monospace" title={edge.revision}>
            {shortRevision(edge.revision)}
          </Text>
        )}
      </Table.Td>
      <Table.Td className={secondaryCell}>{edge.started_at ? <RelativeTime at={edge.started_at} /> : "–"}</Table.Td>
      <Table.Td ta="right">
        {edge.reachable && !edge.draining && (
          <Button variant="default" size="xs" aria-label={`${edge.drained ? "Undrain" : "Drain"} ${edge.address}`} onClick={() => setAsked(edge)}>
            {edge.drained ? "Undrain" : "Drain"}
          </Button>
        )}
        {asked && <HoldDialog edge={asked} onClose={() => setAsked(undefined)} />}
      </Table.Td>
    </Table.Tr>
  );
}

/** For how many minutes an edge may be drained. */
const drainTimes = [
  { value: "15", label: "15 minutes" },
  { value: "60", label: "An hour" },
  { value: "240", label: "4 hours" },
  { value: "1440", label: "A day" },
];

/** Drains an edge, or lets it serve again. */
function HoldDialog({ edge, onClose }: { edge: Edge; onClose: () => void }) {
  const queryClient = useQueryClient();
  const [force, setForce] = useState(false);
  const [minutes, setMinutes] = useState("60");
  const onSuccess = async (after: Edge) => {
    onClose();
    notifications.show({ message: `${after.address}: ${stateOf(after).label.toLowerCase()}.`, color: "signal" });
    await queryClient.invalidateQueries({ queryKey: edgesQuery().queryKey });
  };
  const drain = query.useMutation("post", "/operator/v1/edges/{edge}/drain", { onSuccess });
  const undrain = query.useMutation("post", "/operator/v1/edges/{edge}/undrain", { onSuccess });
  const params = { path: { edge: edge.id } };
  const last = drain.isError && toProblem(drain.error).code === "last_ready_edge";
  if (edge.drained) {
    return (
      <ReasonDialog
        opened
        onClose={onClose}
        title={`Let ${edge.address} serve again?`}
        readers="Operators read it in their audit log."
        action="Undrain edge"
        pending={undrain.isPending}
        error={undrain.error}
        onConfirm={(reason) => undrain.mutate({ params, body: { reason } })}
      >
        Balancers send it connections again.
      </ReasonDialog>
    );
  }
  return (
    <ReasonDialog
      opened
      onClose={onClose}
      title={`Drain ${edge.address}?`}
      readers="Operators read it in their audit log."
      action="Drain edge"
      harsh
      pending={drain.isPending}
      error={drain.error}
      onConfirm={(reason) => drain.mutate({ params, body: { reason, minutes: Number(minutes), ...(force && { force }) } })}
    >
      It takes no new connections and asks its {formatCount(edge.connections ?? 0)} to reconnect elsewhere, a few at a time.
      <Select
        mt="md"
        label="Serves again after"
        description="By itself, whoever is away by then."
        data={drainTimes}
        allowDeselect={false}
        value={minutes}
        onChange={(value) => value && setMinutes(value)}
      />
      {(last || force) && (
        <Checkbox
          mt="md"
          label="Drain it all the same"
          description="Nobody can connect until an edge is ready again."
          checked={force}
          onChange={({ currentTarget }) => setForce(currentTarget.checked)}
        />
      )}
    </ReasonDialog>
  );
}
