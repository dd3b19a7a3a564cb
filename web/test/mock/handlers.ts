import { http, HttpResponse, type DefaultBodyType, type StrictRequest } from "msw";

import type { components } from "@/shared/api/schema";
import { apiTokens, deliveries, hub, issuer, limits, members, revocations, secret, session, tenant, usage } from "./data.ts";

type Schemas = components["schemas"];

/** Amounts of the ledger, of which only deliveries are any. */
const amounts = (delivered: number) => ({
  messages_accepted: 0, messages_delivered: delivered, delivered_bytes: 0, received_bytes: 0, connection_seconds: 0, connections_opened: 0,
});

/** An API in memory. `quiet` is a tenant to which nothing has happened yet. */
export interface MockState {
  signedIn: boolean;
  quiet: boolean;
  hubs: Schemas["Hub"][];
  issuers: Schemas["Issuer"][];
  revocations: Schemas["Revocation"][];
  /** The user's role in the account. */
  role?: Schemas["Role"];
  /** Signing in takes a second step. */
  secondFactor?: boolean;
  /** Sign-ups are confirmed by mail first. */
  confirmSignUps?: boolean;
  invitations?: Schemas["Invitation"][];
  /** The account's plan. */
  plan?: Schemas["PlanState"];
}

const auditEvents: Schemas["AuditEvent"][] = [
  {
    number: 1, at: "2026-11-22T10:00:00Z", actor: "user", actor_id: "u1", actor_name: "ada@example.com", action: "tenant.suspended", subject: "acme-chat",
    request_id: "req_1", ip: "192.0.2.1", user_agent: "browser", before: { status: "active" }, after: { status: "suspended" },
    previous: "0".repeat(64), hash: "ab".repeat(32),
  },
];

const freePlan: Schemas["PlanState"] = {
  plan: "free", since: "2026-11-22T00:00:00Z", from: "2026-11-22T00:00:00Z", to: "2026-12-22T00:00:00Z", tenants: 2, max_tenants: 3, members: 1, max_members: 2,
};

/** What is there before anybody has done anything. */
export const credentials = () => ({ issuers: [issuer], revocations: [...revocations] });

/** A problem as the API writes it. */
export function problem(status: number, code: string, more: Partial<Schemas["Problem"]> = {}) {
  const body = { type: `/problems/${code}`, title: code, status, code, request_id: "req-mock", ...more };
  return HttpResponse.json(body, { status, headers: { "Content-Type": "application/problem+json" } });
}

const expiry = () => new Date(Date.now() + 3_600_000).toISOString();
const token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhdWQiOiJodHRwOi8vMTI3LjAuMC4xOjg4ODgifQ.c2lnbmF0dXJl";

/** What the API does with a tag: a change of what is no longer as it was seen is refused. */
const tagOf = (value: unknown) => `"${encodeURIComponent(JSON.stringify(value) ?? "")}"`;
const tagged = (value: unknown) =>
  value ? HttpResponse.json(value as object, { headers: { ETag: tagOf(value) } }) : problem(404, "not_found");
const changed = (request: Request, value: unknown) => {
  const seen = request.headers.get("If-Match");
  return seen && seen !== tagOf(value) ? problem(412, "changed") : undefined;
};

/** Handlers for every operation the console uses. */
export function handlers(state: MockState) {
  const guarded = (answer: (request: StrictRequest<DefaultBodyType>, params: Record<string, string>) => unknown) =>
    async ({ request, params }: { request: StrictRequest<DefaultBodyType>; params: Record<string, unknown> }) => {
      if (!state.signedIn) return problem(401, "unauthenticated");
      const answered = await answer(request, params as Record<string, string>);
      return answered instanceof Response ? answered : HttpResponse.json(answered as object);
    };
  return [
    http.post("*/v1/signup", async ({ request }) => {
      const { email } = (await request.json()) as Schemas["SignUpRequest"];
      if (email === "taken@example.com") {
        const errors = [{ field: "email", message: "an account with this address exists" }];
        return problem(409, "email_taken", { errors });
      }
      if (state.confirmSignUps) return new HttpResponse(null, { status: 202 });
      state.signedIn = true;
      const body = { user: { ...session.user, email }, account: session.accounts[0], tenant, key: secret("primary") };
      return HttpResponse.json(body, { status: 201 });
    }),
    http.post("*/v1/session", async ({ request }) => {
      const { password } = (await request.json()) as Schemas["SignInRequest"];
      if (password === "wrong") return problem(401, "unauthenticated");
      if (state.secondFactor) return HttpResponse.json({ second_factor: "totp", expires_at: expiry() }, { status: 202 });
      state.signedIn = true;
      return HttpResponse.json(session);
    }),
    http.post("*/v1/session/second-factor", async ({ request }) => {
      const { code } = (await request.json()) as Schemas["SecondFactorCodeRequest"];
      if (code !== "123456") return problem(401, "wrong_code", { detail: "The code is not right, or was used already." });
      state.signedIn = true;
      return HttpResponse.json(session);
    }),
    http.get("*/v1/session", guarded(() => ({
      ...session,
      accounts: session.accounts.map((account) => ({ ...account, role: state.role ?? account.role })),
    }))),
    http.get("*/v1/sign-in-options", () =>
      HttpResponse.json({ confirm_sign_ups: state.confirmSignUps ?? false, oidc: { name: "Acme SSO" } }),
    ),
    http.post("*/v1/password-reset", () => new HttpResponse(null, { status: 202 })),
    http.post("*/v1/password-reset/completion", () => new HttpResponse(null, { status: 204 })),
    http.post("*/v1/invitations/lookup", () =>
      HttpResponse.json({
        account_name: "Acme", email: "new@example.com", role: "developer", invited_by: "ada@example.com", has_user: false, expires_at: expiry(),
      }),
    ),
    http.post("*/v1/invitations/acceptance", () => {
      state.signedIn = true;
      return HttpResponse.json(session);
    }),
    http.get("*/v1/sessions", guarded(() => ({
      sessions: [
        {
          id: "s1", current: true, device: "Firefox on Linux", ip: "192.0.2.1", remembered: false,
          created_at: tenant.created_at, last_seen_at: tenant.created_at, expires_at: expiry(),
        },
        {
          id: "s2", current: false, device: "Safari on iPhone", ip: "192.0.2.2", remembered: true,
          created_at: tenant.created_at, last_seen_at: tenant.created_at, expires_at: expiry(),
        },
      ],
    }))),
    http.get("*/v1/user/second-factor", guarded(() => ({ enabled: false, recovery_codes_left: 0 }))),
    http.post("*/v1/user/second-factor", guarded(() => ({
      secret: "JBSWY3DPEHPK3PXP", uri: "otpauth://totp/Signalbox:ada@example.com?secret=JBSWY3DPEHPK3PXP&issuer=Signalbox",
    }))),
    http.post("*/v1/user/second-factor/confirmation", guarded(() => ({ recovery_codes: ["AAAA-BBBB-CCCC-DDDD"] }))),
    http.get("*/v1/user/identities", guarded(() => ({ identities: [] }))),
    http.get("*/v1/accounts/:account", guarded(() => ({
      ...session.accounts[0], require_second_factor: false, created_at: tenant.created_at,
    }))),
    http.get("*/v1/accounts/:account/audit", guarded(() => ({ events: auditEvents }))),
    http.get("*/v1/accounts/:account/audit/verification", guarded(() => ({ intact: true, complete: true, events: 1, head_number: 1, head_hash: "ab".repeat(32) }))),
    http.get("*/v1/accounts/:account/members", guarded(() => ({ members }))),
    http.get("*/v1/accounts/:account/invitations", guarded(() => ({ invitations: state.invitations ?? [] }))),
    http.post("*/v1/accounts/:account/invitations", guarded(async (request) => {
      const { email, role } = (await request.json()) as Schemas["CreateInvitationRequest"];
      const made = {
        id: "i1", email, role, invited_by: session.user.email, created_at: tenant.created_at, sent_at: tenant.created_at, expires_at: expiry(),
      };
      state.invitations = [made];
      return HttpResponse.json(made, { status: 201 });
    })),
    http.get("*/v1/accounts/:account/api-tokens", guarded(() => ({ api_tokens: apiTokens }))),
    http.get("*/v1/api-tokens", guarded(() => ({ api_tokens: apiTokens.slice(0, 1) }))),
    http.post("*/v1/accounts/:account/api-tokens", guarded(() =>
      HttpResponse.json({ api_token: apiTokens[1], secret: "sbt_SERVICE" }, { status: 201 }))),
    http.delete("*/v1/session", () => {
      state.signedIn = false;
      return new HttpResponse(null, { status: 204 });
    }),
    http.post("*/v1/email-verification", () => HttpResponse.json({ email: session.user.email })),
    http.get("*/v1/plans", () =>
      HttpResponse.json({
        plans: [{ id: "free", name: "Free", messages_per_month: 1e6, connection_minutes_per_month: 5e4, limits: [] }, { id: "pro", name: "Pro", messages_per_month: 25e6, connection_minutes_per_month: 5e7, limits: [] }],
      }),
    ),
    http.get("*/v1/tenants", guarded(() => ({ tenants: [tenant, { ...tenant, id: "2", slug: "other", name: "Other" }] }))),
    http.post("*/v1/tenants", guarded(() => problem(409, "conflict", {
      errors: [{ field: "slug", message: "slug is taken" }],
    }))),
    http.get("*/v1/tenants/:tenant", guarded((_, { tenant: slug }) =>
      slug === tenant.slug ? tenant : problem(404, "not_found"))),
    http.get("*/v1/tenants/:tenant/keys", guarded(() => ({
      keys: (["primary", "secondary"] as const).map((slot) => ({
        id: slot, slot, hint: slot === "primary" ? "Q3s=" : "9fE=", created_at: tenant.created_at,
      })),
    }))),
    http.post("*/v1/tenants/:tenant/keys/:slot/regenerate", guarded((_, { slot }) =>
      secret(slot === "secondary" ? "secondary" : "primary"))),
    http.get("*/v1/tenants/:tenant/hubs", guarded(() => ({ hubs: state.hubs }))),
    http.get("*/v1/tenants/:tenant/hubs/:hub", guarded((_, { hub: name }) => tagged(state.hubs.find((each) => each.name === name)))),
    http.put("*/v1/tenants/:tenant/hubs/:hub", guarded(async (request, { hub: name }) => {
      const settings = (await request.json()) as Schemas["HubSettings"];
      if (settings.handler === "upstream") {
        const errors = [{ field: "handler", message: "no upstream is set", accepted: "auto, broadcast, app_server" }];
        return problem(400, "invalid", { errors });
      }
      const saved = { ...hub, ...settings, name: name ?? "" };
      state.hubs = [...state.hubs.filter((each) => each.name !== name), saved];
      return saved;
    })),
    http.patch("*/v1/tenants/:tenant/hubs/:hub", guarded(async (request, { hub: name }) => {
      const settings = (await request.json()) as Schemas["HubSettings"];
      if (settings.upstream?.rules?.some(({ url }) => url.includes("10.0.0.1"))) {
        const errors = [{ field: "upstream.rules.0.url", message: "the address is not one that may be reached" }];
        return problem(400, "invalid", { errors });
      }
      const refused = changed(request, state.hubs.find((each) => each.name === name));
      if (refused) return refused;
      state.hubs = state.hubs.map((each) => (each.name === name ? { ...each, ...settings } : each));
      return state.hubs.find((each) => each.name === name);
    })),
    http.get("*/v1/tenants/:tenant/webhook-secrets", guarded(() => ({
      webhook_secrets: [
        { id: "w2", hint: "b7k=", created_at: tenant.created_at },
        { id: "w1", hint: "3Fs=", created_at: tenant.created_at, expires_at: expiry() },
      ],
    }))),
    http.post("*/v1/tenants/:tenant/webhook-secrets/rotate", guarded(() => ({
      id: "w3", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", created_at: tenant.created_at,
    }))),
    http.get("*/v1/tenants/:tenant/upstream-deliveries", guarded((request) => {
      const outcome = new URL(request.url).searchParams.get("outcome");
      return { deliveries: deliveries.filter((each) => !outcome || each.outcome === outcome) };
    })),
    http.post("*/v1/tenants/:tenant/upstream-deliveries/:delivery/replay", guarded((_, { delivery: id }) => ({
      ...deliveries.find((each) => each.id === id), id: "9-0", outcome: "delivered", status: 204, replay_of: id,
    }))),
    http.delete("*/v1/tenants/:tenant/hubs/:hub", guarded((_, { hub: name }) => {
      state.hubs = state.hubs.filter((each) => each.name !== name);
      return new HttpResponse(null, { status: 204 });
    })),
    http.get("*/v1/tenants/:tenant/issuers", guarded(() => ({ issuers: state.issuers }))),
    http.post("*/v1/tenants/:tenant/issuers", guarded(async (request) => {
      const settings = (await request.json()) as Schemas["IssuerSettings"];
      if (settings.jwks_url.includes("10.0.0.1")) {
        const errors = [{ field: "jwks_url", message: "the address is not one that may be reached" }];
        return problem(400, "invalid", { errors });
      }
      const made = { ...issuer, ...settings, id: `issuer-${state.issuers.length + 1}` };
      state.issuers = [...state.issuers, made];
      return HttpResponse.json(made, { status: 201 });
    })),
    http.get("*/v1/tenants/:tenant/issuers/:issuer", guarded((_, { issuer: id }) => tagged(state.issuers.find((each) => each.id === id)))),
    http.put("*/v1/tenants/:tenant/issuers/:issuer", guarded(async (request, { issuer: id }) => {
      const settings = (await request.json()) as Schemas["IssuerSettings"];
      const refused = changed(request, state.issuers.find((each) => each.id === id));
      if (refused) return refused;
      state.issuers = state.issuers.map((each) => (each.id === id ? { ...each, ...settings } : each));
      return state.issuers.find((each) => each.id === id);
    })),
    http.delete("*/v1/tenants/:tenant/issuers/:issuer", guarded((_, { issuer: id }) => {
      state.issuers = state.issuers.filter((each) => each.id !== id);
      return new HttpResponse(null, { status: 204 });
    })),
    http.get("*/v1/tenants/:tenant/revocations", guarded(() => ({ revocations: state.revocations }))),
    http.post("*/v1/tenants/:tenant/revocations", guarded(async (request) => {
      const { kind, value } = (await request.json()) as Schemas["RevocationRequest"];
      const at = new Date().toISOString();
      const made = { id: `r${state.revocations.length + 1}`, kind, value, issued_before: at, created_at: at, expires_at: expiry() };
      state.revocations = [made, ...state.revocations];
      return HttpResponse.json(made, { status: 201 });
    })),
    http.delete("*/v1/tenants/:tenant/revocations/:revocation", guarded((_, { revocation: id }) => {
      state.revocations = state.revocations.filter((each) => each.id !== id);
      return new HttpResponse(null, { status: 204 });
    })),
    http.post("*/v1/tenants/:tenant/permission-checks", guarded(async (request) => {
      const { token: pasted, group, permissions = [] } = (await request.json()) as Schemas["PermissionCheckRequest"];
      if (pasted) {
        return {
          allowed: false, code: "permission_denied", reason: "Neither the token nor the hub has the permission.",
          token: { user_id: "ann", key_id: "key-1", expires_at: expiry(), groups: ["lobby"], permissions: [], ignored: [{ permission: "fly", reason: "no such action" }] },
        };
      }
      const [permission] = permissions;
      if (!permission) return { allowed: false, code: "permission_denied", reason: `Nothing permits it for ${group}.` };
      return { allowed: true, code: "allowed", reason: "The token permits it.", rule: { source: "token", permission } };
    })),
    http.get("*/v1/tenants/:tenant/limits", guarded(() => limits)),
    http.post("*/v1/tenants/:tenant/client-tokens", guarded(() => ({ token, id: "TOKEN1", url: hub.client_url, expires_at: expiry() }))),
    http.post("*/v1/tenants/:tenant/rest-tokens", guarded(() => ({ token, id: "TOKEN2", url: tenant.endpoint, expires_at: expiry() }))),
    http.get("*/v1/tenants/:tenant/usage", guarded((request) => {
      const step = new URL(request.url).searchParams.get("step");
      return usage(step === "minute" || step === "day" ? step : "hour", state.quiet);
    })),
    http.get("*/v1/tenants/:tenant/usage/top", guarded((request) => ({
      from: "2026-11-22T00:00:00Z", to: "2026-11-23T00:00:00Z", step: "hour", by: new URL(request.url).searchParams.get("by") ?? "hub",
      values: [{ value: "chat", messages_accepted: 900, messages_delivered: 5000 }, { value: "", messages_accepted: 40, messages_delivered: 7 }],
      other: { messages_accepted: 60, messages_delivered: 3 }, total: { messages_accepted: 1000, messages_delivered: 5010 },
    }))),
    http.get("*/v1/tenants/:tenant/ledger", guarded(() => ({
      from: "2026-11-01T00:00:00Z", to: "2026-12-01T00:00:00Z", totals: amounts(-42),
      entries: [{
        id: 7, tenant_id: tenant.id, hub: "chat", hour: "2026-11-22T10:00:00Z", kind: "correction", amounts: amounts(-42),
        concerns: "2026-11-20T09:00:00Z", reason: "A test of ours", actor: "ops@example.com",
      }],
    }))),
    http.get("*/v1/accounts/:account/plan", guarded(() => state.plan ?? freePlan)),
    http.put("*/v1/accounts/:account/plan", guarded(async (request) => {
      const change = await request.json() as Schemas["PlanChange"];
      const { next_plan: _, next_plan_at: __, ...now } = state.plan ?? freePlan;
      if (change.plan === now.plan) state.plan = now;
      else if (change.effective === "period_end") state.plan = { ...now, next_plan: change.plan, next_plan_at: now.to };
      else state.plan = { ...now, plan: change.plan };
      return state.plan;
    })),
    http.get("*/v1/accounts/:account/budget", guarded(() => ({
      budget: { action: "notify", messages: 2_000_000, steps: [50, 80, 100] }, from: "2026-11-22T00:00:00Z", to: "2026-12-22T00:00:00Z", plan: "free",
      messages_used: 1_200_000, connection_minutes_used: 300, messages_allowed: 3_000_000, connection_minutes_allowed: 1_000_000, hard_messages: true, hard_connection_minutes: true, exceeded: false,
      notices: [{ meter: "messages", budget: 2_000_000, step: 50, used: 1_000_001, told_at: "2026-11-29T12:00:00Z" }],
    }))),
    http.get("*/v1/tenants/:tenant/activity", guarded(() => ({
      tenant_id: tenant.id,
      connections_now: state.quiet ? 0 : 84,
      ...(state.quiet ? {} : {
        first_connection_at: "2026-11-22T10:00:00Z",
        first_message_at: "2026-11-22T10:00:09Z",
        last_message_at: new Date(Date.now() - 4000).toISOString(),
      }),
    }))),
    http.post("*/v1/tenants/:tenant/live", guarded(() => problem(503, "unavailable"))),
    http.get("*/v1/dev/mailbox", () => HttpResponse.json({
      mails: [{
        id: "1", to: "ada@example.com", subject: "Confirm your email address", created_at: new Date(Date.now() - 65_000).toISOString(),
        text: "Welcome to Signalbox.\n\nOpen this link to confirm your address:\nhttp://127.0.0.1:8080/verify-email?token=abc",
        link: "http://127.0.0.1:8080/verify-email?token=abc",
      }],
    })),
  ];
}
