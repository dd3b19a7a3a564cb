import { ActionIcon, Button, NumberInput, Select, TextInput } from "@mantine/core";
import type { UseFormReturnType } from "@mantine/form";
import { Plus, Trash2 } from "lucide-react";

import type { UpstreamMode } from "@/shared/api/types";
import { maxRules, newRule, type HubForm } from "./settings";
import classes from "./HubDialog.module.css";

const modes: readonly { value: UpstreamMode; label: string; explanation: string }[] = [
  {
    value: "azure",
    label: "Azure functions",
    explanation: "The format of Azure SignalR Service, for functions that you have. Signed with the access keys.",
  },
  {
    value: "native",
    label: "Native",
    explanation:
      "JSON both ways, with streams and events that are sent again until they arrive. Signed with the webhook secret, which is on the page Keys.",
  },
];

/** Where a hub's invocations and events are posted to. */
export function UpstreamFields({ form }: { form: UseFormReturnType<HubForm> }) {
  const { mode, rules } = form.values;
  return (
    <fieldset className={classes["upstream"]}>
      <legend>Upstream</legend>
      {rules.map((_, i) => (
        // Rules have no names; their place is what they are known by.
        <div className={classes["rule"]} key={i}>
          <TextInput
            label="Address"
            placeholder="https://example.com/signalr/{event}"
            maxLength={2048}
            {...form.getInputProps(`rules.${i}.url`)}
          />
          <TextInput
            label="Methods and events"
            placeholder="All, or send, join"
            maxLength={1024}
            {...form.getInputProps(`rules.${i}.event`)}
          />
          <ActionIcon
            type="button"
            variant="subtle"
            color="gray"
            size="lg"
            aria-label={`Remove address ${i + 1}`}
            onClick={() => form.removeListItem("rules", i)}
          >
            <Trash2 size={16} aria-hidden />
          </ActionIcon>
        </div>
      ))}
      {rules.length < maxRules && (
        <div>
          <Button
            variant="default"
            size="xs"
            leftSection={<Plus size={14} aria-hidden />}
            onClick={() => form.insertListItem("rules", newRule())}
          >
            Add an address
          </Button>
        </div>
      )}
      {rules.length > 0 && (
        <>
          <Select
            label="Format"
            description={modes.find(({ value }) => value === mode)?.explanation}
            data={modes.map(({ value, label }) => ({ value, label }))}
            allowDeselect={false}
            {...form.getInputProps("mode")}
          />
          <div className={classes["pair"]}>
            <NumberInput
              label="Time-out"
              description="For one request with its answer"
              suffix=" s"
              min={1}
              max={30}
              allowDecimal={false}
              {...form.getInputProps("timeout")}
            />
            {mode === "native" && (
              <NumberInput
                label="Wait for who comes back"
                description="Before a user counts as gone"
                suffix=" s"
                min={0}
                max={60}
                allowDecimal={false}
                {...form.getInputProps("reconnect")}
              />
            )}
          </div>
        </>
      )}
    </fieldset>
  );
}
