import type { Handler, Hub, HubSettings, UpstreamMode } from "@/shared/api/types";

/** The values of the hub form. */
export interface HubForm {
  name: string;
  handler: Handler;
  keepAlive: number | string;
  clientTimeout: number | string;
  origins: string[];
  historySeconds: number | string;
  historyMessages: number | string;
  groupIndex: boolean;
  tellGaps: boolean;
  partitions: number | string;
  closeOnExpiry: boolean;
  mode: UpstreamMode;
  rules: RuleForm[];
  timeout: number | string;
  reconnect: number | string;
}

/** One rule of the upstream. Patterns are empty where everything matches. */
export interface RuleForm {
  url: string;
  event: string;
  category: string;
  hub: string;
}

/** How many rules a hub may have. */
export const maxRules = 10;

/** A rule that matches everything and leads nowhere yet. */
export const newRule = (): RuleForm => ({ url: "", event: "", category: "", hub: "" });

/** API fields by the form's names, for problems. */
export const fieldNames: Record<string, string> = {
  hub: "name",
  name: "name",
  handler: "handler",
  keep_alive_seconds: "keepAlive",
  client_timeout_seconds: "clientTimeout",
  allowed_origins: "origins",
  "history.seconds": "historySeconds",
  "history.messages": "historyMessages",
  gaps: "tellGaps",
  partitions: "partitions",
  close_on_expiry: "closeOnExpiry",
  "upstream.mode": "mode",
  "upstream.timeout_seconds": "timeout",
  "upstream.reconnect_seconds": "reconnect",
  ...Object.fromEntries(Array.from({ length: maxRules }, (_, i) => [`upstream.rules.${i}.url`, `rules.${i}.url`])),
};

/** What the form begins with: the hub's settings, or the defaults. */
export function initialForm(hub: Hub | undefined): HubForm {
  return {
    name: hub?.name ?? "",
    handler: hub?.handler ?? "auto",
    keepAlive: hub?.keep_alive_seconds ?? 15,
    clientTimeout: hub?.client_timeout_seconds ?? 30,
    origins: hub?.allowed_origins ?? [],
    historySeconds: hub?.history.seconds ?? 0,
    historyMessages: hub?.history.messages ?? 0,
    groupIndex: hub?.history.group_index ?? false,
    tellGaps: hub?.gaps === "tell",
    partitions: hub?.partitions ?? 1,
    closeOnExpiry: hub?.close_on_expiry ?? false,
    mode: hub?.upstream?.mode ?? "azure",
    rules: (hub?.upstream?.rules ?? []).map((rule) => ({ ...newRule(), ...rule })),
    timeout: hub?.upstream?.timeout_seconds ?? 5,
    reconnect: hub?.upstream?.reconnect_seconds ?? 0,
  };
}

/** The request body for a checked form; bytes is what the hub has of what the form doesn't show. */
export function settingsOf(form: HubForm, bytes = 0): HubSettings {
  return {
    history: {
      seconds: Number(form.historySeconds),
      messages: Number(form.historyMessages),
      bytes,
      group_index: form.groupIndex,
    },
    gaps: form.tellGaps ? "tell" : "close",
    partitions: Number(form.partitions),
    close_on_expiry: form.closeOnExpiry,
    handler: form.handler,
    keep_alive_seconds: Number(form.keepAlive),
    client_timeout_seconds: Number(form.clientTimeout),
    allowed_origins: form.origins,
    upstream: {
      mode: form.mode,
      timeout_seconds: Number(form.timeout),
      reconnect_seconds: form.mode === "native" ? Number(form.reconnect) : 0,
      rules: form.rules.map(({ url, ...patterns }) => ({
        url,
        ...Object.fromEntries(Object.entries(patterns).filter(([, pattern]) => pattern !== "")),
      })),
    },
  };
}

const namePattern = /^[A-Za-z][A-Za-z0-9_`,.[\]-]{0,127}$/;

/** What is wrong with a hub's name; null when nothing is. */
export const checkName = (name: string): string | null =>
  namePattern.test(name) ? null : "Begin with a letter; then up to 127 letters, digits or any of _ ` , . [ ] -";

/** What is wrong with the keep-alive; null when nothing is. */
export const checkKeepAlive = (value: number | string): string | null =>
  inRange(value, 1, 300) ? null : "Whole seconds from 1 to 300.";

/** What is wrong with the client timeout; null when nothing is. */
export function checkClientTimeout(value: number | string, keepAlive: number | string): string | null {
  if (!inRange(value, 2, 600)) return "Whole seconds from 2 to 600.";
  return Number(value) >= 2 * Number(keepAlive) ? null : "At least twice the keep-alive.";
}

/** What is wrong with how long messages are kept; null when nothing is. */
export const checkHistorySeconds = (value: number | string): string | null =>
  value === 0 || inRange(value, 180, 604_800) ? null : "0 for what the plan allows, or whole seconds from 180.";

/** What is wrong with how many messages are kept; null when nothing is. */
export const checkHistoryMessages = (value: number | string): string | null =>
  value === 0 || inRange(value, 100, 100_000) ? null : "0 for what the plan allows, or 100 to 100,000.";

/** What is wrong with the number of partitions; null when nothing is. */
export const checkPartitions = (value: number | string): string | null =>
  inRange(value, 1, 16) ? null : "A whole number from 1 to 16.";

/** What is wrong with the origins; null when nothing is. */
export function checkOrigins(origins: readonly string[]): string | null {
  const bad = origins.find((origin) => !/^https?:\/\/[^/?#\s]+$/.test(origin));
  return bad === undefined ? null : `${bad} is no origin. Write it like https://app.example.com, without a path.`;
}

/** What is wrong with the address of a rule; null when nothing is. */
export function checkRuleURL(url: string): string | null {
  if (url === "") return "Write the address, or remove the rule.";
  return /^https?:\/\/[^/?#\s@{}]+([/?][^#\s]*)?$/.test(url)
    ? null
    : "An absolute address like https://example.com/signalr/{event}, with placeholders in its path or query only.";
}

/** What is wrong with the time-out of the upstream; null when nothing is. */
export const checkTimeout = (value: number | string): string | null =>
  inRange(value, 1, 30) ? null : "Whole seconds from 1 to 30.";

/** What is wrong with the wait for users who come back; null when nothing is. */
export const checkReconnect = (value: number | string): string | null =>
  inRange(value, 0, 60) ? null : "Whole seconds from 0 to 60.";

function inRange(value: number | string, min: number, max: number): boolean {
  const number = Number(value);
  return value !== "" && Number.isInteger(number) && number >= min && number <= max;
}
