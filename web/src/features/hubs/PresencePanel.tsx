import { Button, Select, Table, Text, TextInput } from "@mantine/core";
import { Eye, EyeOff } from "lucide-react";
import { useState } from "react";

import type { Hub, Tenant } from "@/shared/api/types";
import { Panel } from "@/shared/ui/Page";
import { type Aspect, SignalLamp } from "@/shared/ui/SignalLamp";
import { FormAlert } from "@/shared/ui/states";
import { WideTable } from "@/shared/ui/WideTable";
import classes from "./HubsPage.module.css";
import { listed, rows, stateText, userCount, type PresenceState } from "./presence";
import { usePresence } from "./usePresence";

const phases: Record<PresenceState["phase"], { aspect: Aspect; text: string }> = {
  off: { aspect: "dark", text: "Not watching" },
  connecting: { aspect: "waiting", text: "Connecting…" },
  live: { aspect: "clear", text: "Live" },
  reconnecting: { aspect: "waiting", text: "Connection lost, reconnecting…" },
  failed: { aspect: "fault", text: "Not watching" },
};

const plural = (n: number, one: string) => `${n.toLocaleString("en")} ${n === 1 ? one : `${one}s`}`;

/** Who is present in a group, with state, as it changes. */
export function PresencePanel({ tenant, hubs }: { tenant: Tenant; hubs: readonly Hub[] }) {
  const { state, start, stop } = usePresence(tenant);
  const [hub, setHub] = useState<string | null>(null);
  const [group, setGroup] = useState("");
  const chosen = hub ?? hubs[0]?.name;
  const on = state.phase === "live" || state.phase === "reconnecting";
  const { aspect, text } = phases[state.phase];

  return (
    <Panel
      title="Presence"
      description="Who is present in a group now. This page becomes a client of the hub that watches, and counts as one."
      flush
    >
      <form
        noValidate
        className={classes["filters"]}
        onSubmit={(event) => {
          event.preventDefault();
          if (chosen && group.trim()) start(chosen, group.trim());
        }}
      >
        <Select
          label="Hub"
          data={hubs.map(({ name }) => name)}
          value={chosen ?? null}
          onChange={(value) => {
            stop();
            setHub(value);
          }}
          allowDeselect={false}
        />
        <TextInput
          label="Group"
          placeholder="room-7"
          maxLength={1024}
          value={group}
          onChange={({ currentTarget }) => {
            stop();
            setGroup(currentTarget.value);
          }}
        />
        <div className={classes["watch"]}>
          {/* Two elements: one that became a submit button while it is clicked would submit. */}
          {on ? (
            <Button key="stop" variant="default" leftSection={<EyeOff size={16} aria-hidden />} onClick={stop}>
              Stop watching
            </Button>
          ) : (
            <Button key="watch" type="submit" leftSection={<Eye size={16} aria-hidden />} loading={state.phase === "connecting"} disabled={!chosen || !group.trim()}>
              Watch
            </Button>
          )}
        </div>
      </form>
      <div className={classes["pad"]}>
        <span role="status" className={classes["phase"]}>
          <SignalLamp aspect={aspect} size={10} />
          {text}
          {on && ` · ${plural(state.members.size, "member")} · ${plural(userCount(state.members), "user")}`}
        </span>
        <FormAlert message={state.phase === "failed" ? state.reason : undefined} />
        {on && state.members.size === 0 && <Text c="dimmed">Nobody is present in this group.</Text>}
        {state.members.size > listed && <Text c="dimmed">The first {listed} are listed.</Text>}
      </div>
      {on && state.members.size > 0 && (
        <WideTable label={`Members of ${group.trim()}`}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>User</Table.Th>
              <Table.Th>State</Table.Th>
              <Table.Th>Connection</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows(state.members).map((member) => (
              <Table.Tr key={member.connectionId}>
                <Table.Td>{member.userId ?? <Text c="dimmed" span>nobody</Text>}</Table.Td>
                <Table.Td>
                  <code className={classes["state"]}>{stateText(member.state)}</code>
                </Table.Td>
                <Table.Td>
                  <code>{member.connectionId}</code>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </WideTable>
      )}
    </Panel>
  );
}
