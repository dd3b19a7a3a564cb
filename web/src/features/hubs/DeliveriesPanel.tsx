import { Button, Modal, Select, Stack, Table, Text, TextInput, VisuallyHidden } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { keepPreviousData, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import type { Delivery, DeliveryContent, DeliveryOutcome, Hub, Tenant } from "@/shared/api/types";
import { CodeBlock } from "@/shared/ui/CodeBlock";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import classes from "./HubsPage.module.css";

const outcomes: readonly { value: DeliveryOutcome; label: string; tone: "good" | "bad" | "warn" }[] = [
  { value: "delivered", label: "Delivered", tone: "good" },
  { value: "failed", label: "Failed", tone: "bad" },
  { value: "retried", label: "Sent again", tone: "warn" },
];

/** How often the list is read again while it is on the page. */
const refreshEvery = 5_000;

/** What was posted to upstreams of late, and what came of it. */
export function DeliveriesPanel({ tenant, hubs }: { tenant: Tenant; hubs: readonly Hub[] }) {
  const [hub, setHub] = useState<string | null>(null);
  const [outcome, setOutcome] = useState<DeliveryOutcome | null>(null);
  const [event, setEvent] = useState("");
  const [shown, setShown] = useState<Delivery>();
  const deliveries = query.useQuery(
    "get",
    "/v1/tenants/{tenant}/upstream-deliveries",
    {
      params: {
        path: { tenant: tenant.slug },
        query: { limit: 50, ...(hub && { hub }), ...(outcome && { outcome }), ...(event && { event }) },
      },
    },
    { refetchInterval: refreshEvery, placeholderData: keepPreviousData },
  );
  const list = deliveries.data?.deliveries ?? [];

  return (
    <Panel
      title="Upstream deliveries"
      description="The newest 50 requests to your upstreams within 24 hours, with the beginning of their bodies."
      flush
    >
      <div className={classes["filters"]}>
        <Select label="Hub" placeholder="All" clearable data={hubs.map(({ name }) => name)} value={hub} onChange={setHub} />
        <TextInput
          label="Method or event"
          placeholder="All"
          maxLength={256}
          value={event}
          onChange={({ currentTarget }) => setEvent(currentTarget.value)}
        />
        <Select
          label="Outcome"
          placeholder="All"
          clearable
          data={outcomes.map(({ value, label }) => ({ value, label }))}
          value={outcome}
          onChange={(value) => setOutcome(outcomes.find((each) => each.value === value)?.value ?? null)}
        />
      </div>
      {deliveries.isPending && (
        <div className={classes["pad"]}>
          <SkeletonRows rows={3} height={40} />
        </div>
      )}
      {deliveries.isError && (
        <div className={classes["pad"]}>
          <ErrorState error={deliveries.error} what="the deliveries" onRetry={() => void deliveries.refetch()} />
        </div>
      )}
      {deliveries.isSuccess && list.length === 0 && (
        <Text c="dimmed" className={classes["pad"] ?? ""}>
          Nothing was posted lately, or nothing that fits.
        </Text>
      )}
      {list.length > 0 && <DeliveryTable deliveries={list} onShow={setShown} />}
      <DeliveryDialog tenant={tenant} delivery={shown} onClose={() => setShown(undefined)} />
    </Panel>
  );
}

function DeliveryTable({ deliveries, onShow }: { deliveries: readonly Delivery[]; onShow: (delivery: Delivery) => void }) {
  return (
    <WideTable label="Upstream deliveries">
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Event</Table.Th>
          <Table.Th>Outcome</Table.Th>
          <Table.Th className={secondaryCell}>Hub</Table.Th>
          <Table.Th className={secondaryCell}>Took</Table.Th>
          <Table.Th className={secondaryCell}>When</Table.Th>
          <Table.Th>
            <VisuallyHidden>Actions</VisuallyHidden>
          </Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody className="tabular">
        {deliveries.map((delivery) => (
          <Table.Tr key={delivery.id}>
            <Table.Td>{delivery.event}</Table.Td>
            <Table.Td>
              <Outcome delivery={delivery} />
            </Table.Td>
            <Table.Td className={secondaryCell}>{delivery.hub}</Table.Td>
            <Table.Td className={secondaryCell}>{delivery.duration_ms} ms</Table.Td>
            <Table.Td className={secondaryCell}>
              <RelativeTime at={delivery.at} />
            </Table.Td>
            <Table.Td ta="right">
              <Button
                variant="subtle"
                size="compact-sm"
                aria-label={`Details of ${delivery.event}, ${delivery.id}`}
                onClick={() => onShow(delivery)}
              >
                Details
              </Button>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </WideTable>
  );
}

function Outcome({ delivery: { outcome, status, error } }: { delivery: Delivery }) {
  const { label, tone } = outcomes.find(({ value }) => value === outcome) ?? { label: outcome, tone: "warn" };
  const reason = outcome === "delivered" ? status : (error ?? status);
  return (
    <Tag tone={tone}>
      {label}
      {reason !== undefined && ` · ${reason}`}
    </Tag>
  );
}

interface DialogProps {
  tenant: Tenant;
  delivery: Delivery | undefined;
  onClose: () => void;
}

function DeliveryDialog({ tenant, delivery, onClose }: DialogProps) {
  const queryClient = useQueryClient();
  const replay = query.useMutation("post", "/v1/tenants/{tenant}/upstream-deliveries/{delivery}/replay", {
    onSuccess: async ({ outcome, status, error }) => {
      await queryClient.invalidateQueries({ queryKey: ["get", "/v1/tenants/{tenant}/upstream-deliveries"] });
      notifications.show({
        message: outcome === "delivered" ? `Sent again; the upstream answered ${status}.` : `Sent again, and failed: ${error}.`,
        color: outcome === "delivered" ? "signal" : "red",
      });
      close();
    },
  });
  const close = () => {
    replay.reset();
    onClose();
  };
  return (
    <Modal opened={delivery !== undefined} onClose={close} centered size="lg" title={`Delivery of ${delivery?.event ?? ""}`}>
      {delivery && (
        <Stack>
          <Text c="dimmed" size="sm" style={{ overflowWrap: "anywhere" }}>
            {delivery.url} · attempt {delivery.attempt} · connection {delivery.connection_id}
          </Text>
          <Outcome delivery={delivery} />
          <Content title="Request" content={delivery.request} />
          <Content title="Response" content={delivery.response} />
          <FormAlert message={replay.isError ? toProblem(replay.error).message : undefined} />
          <Text c="dimmed" size="sm">
            {delivery.replayable
              ? "Sending it again posts the same body to where the upstream is now. No client gets the answer."
              : "It can't be sent again: the log holds only the beginning of its body."}
          </Text>
          <div className={classes["buttons"]}>
            <Button variant="default" onClick={close}>
              Done
            </Button>
            <Button
              disabled={!delivery.replayable}
              loading={replay.isPending}
              onClick={() => replay.mutate({ params: { path: { tenant: tenant.slug, delivery: delivery.id } } })}
            >
              Send again
            </Button>
          </div>
        </Stack>
      )}
    </Modal>
  );
}

function Content({ title, content }: { title: string; content: DeliveryContent }) {
  if (content.bytes === 0) return null;
  const kind = content.content_type ?? "no type";
  return (
    <CodeBlock
      title={`${title}, ${kind}, ${content.bytes} bytes${content.truncated ? ", cut" : ""}${content.base64 ? ", in base64" : ""}`}
      what={`${title.toLowerCase()} body`}
      code={content.text ?? content.base64 ?? ""}
    />
  );
}
