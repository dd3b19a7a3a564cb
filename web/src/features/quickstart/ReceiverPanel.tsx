import { Button, Text } from "@mantine/core";
import { Plug, Unplug } from "lucide-react";

import { Panel } from "@/shared/ui/Page";
import { type Aspect, SignalLamp } from "@/shared/ui/SignalLamp";
import classes from "./ReceiverPanel.module.css";
import { preview, type ReceivedMessage, type ReceiverState } from "./receiver";
import type { Tokens } from "./useTokens";
import { useReceiver } from "./useReceiver";

const phases: Record<ReceiverState["phase"], { aspect: Aspect; text: string }> = {
  off: { aspect: "dark", text: "Not connected" },
  connecting: { aspect: "waiting", text: "Connecting…" },
  connected: { aspect: "clear", text: "Connected, listening" },
  reconnecting: { aspect: "waiting", text: "Connection lost, reconnecting…" },
  failed: { aspect: "fault", text: "Not connected" },
};

/** This page as a stock SignalR client of the hub. */
export function ReceiverPanel({ hub, tokens }: { hub: string; tokens: Tokens | undefined }) {
  const { state, connect, disconnect, clear } = useReceiver(tokens);
  const { aspect, text } = phases[state.phase];
  const on = state.phase === "connected" || state.phase === "reconnecting";

  return (
    <Panel title="Try it here" description={`Makes this page a client of hub ${hub}.`}>
      <div className={classes["bar"]}>
        <span role="status" className={classes["phase"]}>
          <SignalLamp aspect={aspect} size={10} />
          {text}
        </span>
        {on ? (
          <Button variant="default" size="xs" leftSection={<Unplug size={14} aria-hidden />} onClick={disconnect}>
            Disconnect
          </Button>
        ) : (
          <Button
            size="xs"
            leftSection={<Plug size={14} aria-hidden />}
            disabled={!tokens}
            loading={state.phase === "connecting"}
            onClick={connect}
          >
            Connect this page
          </Button>
        )}
      </div>
      {state.phase === "failed" && (
        <Text size="sm" role="alert" className={classes["reason"] ?? ""}>
          {state.reason}
        </Text>
      )}
      <section className={classes["messages"]} aria-label="Messages received in this page">
        {state.messages.length === 0 ? (
          <Text size="sm" c="dimmed" ta="center" className={classes["none"] ?? ""}>
            {on ? "Run the curl command: the message appears here." : "Connect, then publish with the curl command."}
          </Text>
        ) : (
          <>
            <ol className={classes["list"]} aria-live="polite" tabIndex={0} aria-label="Received messages">
              {state.messages.map((message) => (
                <MessageRow key={message.id} message={message} />
              ))}
            </ol>
            <div className={classes["foot"]}>
              <Text size="xs" c="dimmed" className="tabular">
                {state.received} received
              </Text>
              <Button variant="subtle" color="gray" size="compact-xs" onClick={clear}>
                Clear
              </Button>
            </div>
          </>
        )}
      </section>
    </Panel>
  );
}

const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

function MessageRow({ message }: { message: ReceivedMessage }) {
  return (
    <li className={classes["message"]}>
      <span className={classes["target"]}>{message.target}</span>
      <code className={classes["arguments"]}>{preview(message.arguments)}</code>
      <time dateTime={message.at} className={classes["time"]}>
        {clock.format(Date.parse(message.at))}
      </time>
    </li>
  );
}
