import type { components } from "@/shared/api/schema";

type Schemas = components["schemas"];

const endpoint = "http://127.0.0.1:8888/t/acme-chat";

/** A tenant as the API describes it. */
export const tenant: Schemas["Tenant"] = {
  id: "01JD0000000000000000000001",
  slug: "acme-chat",
  name: "Acme Chat",
  status: "active",
  environment: "production",
  account_id: "01JD0000000000000000000000",
  plan: "free",
  role: "owner",
  endpoint,
  hosts: [],
  created_at: "2026-11-20T09:00:00Z",
};

/** A hub with the default settings. */
export const hub: Schemas["Hub"] = {
  name: "chat",
  handler: "auto",
  keep_alive_seconds: 15,
  client_timeout_seconds: 30,
  allowed_origins: [],
  client_permissions: [],
  history: { seconds: 0, messages: 0, bytes: 0, group_index: false },
  gaps: "close",
  user_connections: "refuse_newest",
  method_rates: {},
  parallel_calls: 1,
  partitions: 1,
  close_on_expiry: false,
  client_url: `${endpoint}/client/?hub=chat`,
  rest_url: `${endpoint}/api/v1/hubs/chat`,
  created_at: "2026-11-20T09:00:00Z",
  updated_at: "2026-11-20T09:00:00Z",
  implicit: false,
};

/** What was posted to an upstream: one that arrived, and one too large to repeat. */
export const deliveries: Schemas["UpstreamDelivery"][] = [
  {
    id: "2-0", at: "2026-11-22T10:00:05Z", hub: "chat", category: "messages", event: "say", mode: "azure", connection_id: "c1", user_id: "ann",
    url: "https://example.com/say", attempt: 1, outcome: "failed", status: 500, error: "upstream_status", duration_ms: 12, replayable: true,
    request: { content_type: "application/json", bytes: 21, text: '{"type":1,"target":1}', truncated: false },
    response: { bytes: 0, truncated: false },
  },
  {
    id: "1-0", at: "2026-11-22T10:00:00Z", hub: "chat", category: "messages", event: "send", mode: "azure", connection_id: "c1",
    url: "https://example.com/send", attempt: 1, outcome: "delivered", status: 204, duration_ms: 8, replayable: false,
    request: { content_type: "application/x-msgpack", bytes: 9000, base64: "lgGA", truncated: true },
    response: { bytes: 0, truncated: false },
  },
];

/** An identity provider of the tenant's own. */
export const issuer: Schemas["Issuer"] = {
  id: "issuer-1", issuer: "https://id.example.com/", jwks_url: "https://id.example.com/.well-known/jwks.json", algorithms: ["RS256", "ES256"],
  audiences: ["signalbox"], user_claim: "sub", close_on_expiry: false, created_at: "2026-11-20T09:00:00Z", updated_at: "2026-11-20T09:00:00Z",
};

/** A user's tokens that were taken back, and a key's. */
export const revocations: Schemas["Revocation"][] = [
  { id: "r2", kind: "key", value: "key-1", issued_before: "2026-11-22T10:00:00Z", expires_at: "2126-11-22T10:00:00Z", created_at: "2026-11-22T10:00:00Z" },
  { id: "r1", kind: "user", value: "mallory", issued_before: "2026-11-22T09:00:00Z", expires_at: "2026-11-23T09:02:00Z", created_at: "2026-11-22T09:00:00Z" },
];

/** Someone who is signed in. */
export const session: Schemas["Session"] = {
  user: { id: "01JD00000000000000000000U1", email: "ada@example.com", email_verified: false },
  accounts: [{ id: tenant.account_id, name: "Acme", plan: "free", role: "owner" }],
};

/** The members of the account: the user, and a developer. */
export const members: Schemas["Member"][] = [
  {
    user_id: session.user.id, email: session.user.email, email_verified: true, role: "owner", second_factor: true,
    joined_at: "2026-11-20T09:00:00Z", last_seen_at: "2026-11-22T10:00:00Z",
  },
  {
    user_id: "01JD00000000000000000000U2", email: "bob@example.com", email_verified: false, role: "developer", second_factor: false,
    joined_at: "2026-11-21T09:00:00Z",
  },
];

/** API tokens of the account: a personal one, and a service token with scopes. */
export const apiTokens: Schemas["ApiToken"][] = [
  {
    id: "tok1", name: "Laptop", kind: "personal", account_id: tenant.account_id, user_email: session.user.email, role: "owner", scopes: [],
    hint: "AB12", created_at: "2026-11-20T09:00:00Z", last_used_at: "2026-11-22T10:00:00Z",
  },
  {
    id: "tok2", name: "Deploy", kind: "service", account_id: tenant.account_id, role: "developer", scopes: ["keys:read"],
    hint: "CD34", created_at: "2026-11-20T09:00:00Z", expires_at: "2027-02-20T09:00:00Z",
  },
];

/** A key with its secret. */
export const secret = (slot: Schemas["KeySlot"]): Schemas["AccessKeySecret"] => ({
  id: `key-${slot}`,
  slot,
  secret: "pVwTn0zqkQ4bq1a1xkqk3m2oYc1w1mFz0m3mQ0o7Q3s=",
  connection_string: `Endpoint=${endpoint};AccessKey=pVwTn0zqkQ4bq1a1xkqk3m2oYc1w1mFz0m3mQ0o7Q3s=;Version=1.0;`,
  created_at: new Date().toISOString(),
});

/** Nothing used. */
export const noValues: Schemas["UsageValues"] = {
  messages: 0,
  messages_accepted: 0,
  messages_delivered: 0,
  delivered_bytes: 0,
  received_bytes: 0,
  connection_minutes: 0,
  connections_opened: 0,
  peak_connections: 0,
  refused: {},
};

/** A month with some use. */
export const month: Schemas["UsageMonth"] = {
  from: "2026-11-01T00:00:00Z",
  to: "2026-12-01T00:00:00Z",
  plan: "free",
  messages: 182_340,
  connection_minutes: 41_200,
  account_messages: 204_118,
  account_connection_minutes: 43_010,
  messages_allowed: 1_000_000,
  connection_minutes_allowed: 50_000,
};

const spans = { minute: [60, 60], hour: [3600, 24], day: [86_400, 30] } as const;

/** Usage that looks like a working day; `quiet` is a new tenant's. */
export function usage(step: Schemas["UsageStep"], quiet: boolean): Schemas["Usage"] {
  const [seconds, count] = spans[step];
  const end = Math.floor(Date.now() / 1000 / seconds) * seconds + seconds;
  const points = Array.from({ length: count }, (_, index): Schemas["UsagePoint"] => {
    const at = end - (count - index) * seconds;
    const wave = quiet ? 0 : Math.max(0, 40 + 30 * Math.sin(at / seconds / 5) + 10 * Math.sin(at / seconds));
    const accepted = Math.round((wave * seconds) / 60);
    return {
      at: new Date(at * 1000).toISOString(),
      values: {
        messages: accepted * 5,
        messages_accepted: accepted,
        messages_delivered: accepted * 4,
        delivered_bytes: accepted * 4 * 310,
        received_bytes: accepted * 295,
        connection_minutes: Math.round(wave / 4),
        connections_opened: Math.round(wave / 9),
        peak_connections: Math.round(wave / 4),
        refused: quiet || index % 9 > 0 ? {} : { rate_limited: 3 },
      },
    };
  });
  const sum = (pick: (values: Schemas["UsageValues"]) => number) =>
    points.reduce((total, { values }) => total + pick(values), 0);
  const [first] = points;
  return {
    from: first?.at ?? "",
    to: new Date(end * 1000).toISOString(),
    step,
    points,
    totals: {
      messages: sum((values) => values.messages),
      messages_accepted: sum((values) => values.messages_accepted),
      messages_delivered: sum((values) => values.messages_delivered),
      delivered_bytes: sum((values) => values.delivered_bytes),
      received_bytes: sum((values) => values.received_bytes),
      connection_minutes: sum((values) => values.connection_minutes),
      connections_opened: sum((values) => values.connections_opened),
      peak_connections: Math.max(...points.map(({ values }) => values.peak_connections)),
      refused: quiet ? {} : { rate_limited: 21, quota_exceeded: 2 },
    },
    month: quiet ? { ...month, messages: 0, connection_minutes: 0, account_messages: 0, account_connection_minutes: 0 } : month,
  };
}

const throttled = { kind: "throttle", source: "plan", lowest: 1, can_dry_run: true, counted: "fleet", shown: "now and today's peak" } as const;
const plain = { kind: "hard", source: "plan", lowest: 1, can_dry_run: false, counted: "fleet", shown: "now and today's peak" } as const;

/** Some limits of the free plan: one is all but reached, one refuses, one is overridden, one tried out. */
export const limits: Schemas["LimitList"] = {
  plan: "free",
  allowances: [
    { limit: "messages_per_month", max: 3_000_000, used: 3_000_017, hard: true, exceeded: true, to: "2026-12-22T00:00:00Z" },
    { limit: "connection_minutes_per_month", max: 1_000_000, used: 300, hard: true, exceeded: false, to: "2026-12-22T00:00:00Z" },
  ],
  limits: [
    { ...plain, limit: "max_connections", title: "Concurrent connections", kind: "soft", max: 100, plan_max: 100, highest: 200, unit: "connections", scope: "tenant", can_dry_run: true, code: "connection_limit", used: 84, peak: 97, refused: 0, would_refuse: 0 },
    { ...throttled, limit: "messages_per_second", title: "Messages per second", max: 50, plan_max: 50, highest: 100, unit: "messages/s", scope: "tenant", code: "rate_limited", doc: "https://signalbox.dev/docs/errors/rate_limited", used: 12, peak: 50, refused: 21, would_refuse: 0, last_hit_at: "2026-11-22T09:59:00Z" },
    { ...throttled, limit: "calls_per_second", title: "Calls per second of a connection", max: 20, plan_max: 10, highest: 20, unit: "calls/s", scope: "connection", source: "override", override: { max: 5, dry_run: true, expires_at: "2026-12-01T00:00:00Z" }, code: "call_rate", refused: 0, would_refuse: 7 },
    { ...plain, limit: "max_message_bytes", title: "Message size", max: 32_768, plan_max: 32_768, highest: 65_536, unit: "bytes", scope: "message", code: "message_too_large", refused: 0, would_refuse: 0 },
    { ...plain, limit: "history_bytes", title: "Bytes of all messages that are kept", kind: "trim", max: 16_777_216, plan_max: 16_777_216, highest: 33_554_432, used: 1_048_576, unit: "bytes", scope: "tenant" },
    { ...plain, limit: "max_hubs", title: "Hubs", max: 10, plan_max: 20, highest: 40, unit: "hubs", scope: "tenant", source: "override", override: { max: 10, dry_run: false }, code: "hub_limit", used: 1, refused: 0, would_refuse: 0 },
  ],
};
