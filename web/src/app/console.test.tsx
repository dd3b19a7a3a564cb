import { fireEvent, screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import axe from "axe-core";
import { http } from "msw";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { hub, tenant } from "../../test/mock/data";
import { credentials, problem } from "../../test/mock/handlers";
import { mockServer, renderConsole } from "../../test/render";

const { state, server } = mockServer();
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => {
  server.resetHandlers();
  Object.assign(state, { signedIn: true, quiet: false, hubs: [hub], ...credentials() });
});
afterAll(() => server.close());

const base = `/tenants/${tenant.slug}`;
const panel = async (name: string) => within((await screen.findByRole("heading", { level: 2, name })).closest("section") ?? document.body);
const heading = (name: string) => screen.findByRole("heading", { level: 1, name });

describe("signing in and up", () => {
  it("leads a stranger to the sign-in page and back to where they wanted to go", async () => {
    state.signedIn = false;
    renderConsole(`${base}/keys`);
    await heading("Sign in");
    await userEvent.type(screen.getByLabelText("Email"), "ada@example.com");
    await userEvent.type(screen.getByLabelText("Password"), "long enough it is");
    await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
    await heading("Keys");
  });

  it("says that email and password don't match, without signing anybody out", async () => {
    state.signedIn = false;
    renderConsole("/sign-in");
    await heading("Sign in");
    await userEvent.type(screen.getByLabelText("Email"), "ada@example.com");
    await userEvent.type(screen.getByLabelText("Password"), "wrong");
    await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
    expect(await screen.findByRole("alert")).toHaveTextContent("don't match");
  });

  it("puts the API's complaint at its field", async () => {
    state.signedIn = false;
    renderConsole("/sign-up");
    await heading("Create your account");
    await userEvent.type(screen.getByLabelText("Email"), "taken@example.com");
    await userEvent.type(screen.getByLabelText("Password"), "long enough it is");
    await userEvent.click(screen.getByRole("button", { name: "Create account" }));
    expect(await screen.findByText("An account with this address exists.")).toBeVisible();
    expect(screen.getByLabelText("Email")).toBeInvalid();
  });

  it("lands on the quick start of the new tenant, with its key to see once", async () => {
    state.signedIn = false;
    state.quiet = true;
    renderConsole("/sign-up");
    await heading("Create your account");
    await userEvent.type(screen.getByLabelText("Email"), "new@example.com");
    await userEvent.type(screen.getByLabelText("Password"), "long enough it is");
    await userEvent.click(screen.getByRole("button", { name: "Create account" }));
    await heading("Quick start");
    expect(await screen.findByRole("region", { name: "curl command" })).toHaveTextContent("Authorization: Bearer eyJ");
    expect(screen.getByText("Waiting for your first connection…")).toBeVisible();
    await userEvent.click(await screen.findByRole("button", { name: "Show access key" }));
    const dialog = await screen.findByRole("dialog", { name: "Your access key" });
    // The dialog fades in.
    await waitFor(() => expect(within(dialog).getByRole("status", { name: "Access key" })).toBeVisible());
  });

  it("goes to the sign-in page when a request finds the session gone", async () => {
    renderConsole(base);
    await heading(tenant.name);
    state.signedIn = false;
    await userEvent.click(screen.getByRole("link", { name: "Keys" }));
    await heading("Sign in");
  });
});

it("turns the lights green by asking, while no live events come", async () => {
  state.quiet = true;
  renderConsole(`${base}/quick-start`);
  await waitFor(() => expect(screen.getByTestId("light-message")).toHaveAttribute("data-on", "false"));
  state.quiet = false;
  await waitFor(() => expect(screen.getByTestId("light-message")).toHaveAttribute("data-on", "true"), { timeout: 20_000 });
  expect(screen.getByTestId("light-connection")).toHaveTextContent("Connected");
});

it("shows a budget, its notices, what messages were for and the corrections", async () => {
  renderConsole(`${base}/usage`);
  const budget = await panel("Budget");
  expect(await budget.findByText(/1,200,000 messages and 300 connection minutes/)).toBeVisible();
  expect(budget.getByLabelText("Messages")).toHaveValue("2,000,000");
  expect(budget.getByText(/50 % of 2,000,000 messages reached/)).toBeVisible();
  const top = await panel("Messages by");
  expect(await top.findByRole("row", { name: "Other 60 3" })).toBeVisible();
  await userEvent.click(top.getByText("Group"));
  expect(await top.findByRole("row", { name: "None 40 7" })).toBeVisible();
  const ledger = await panel("Ledger");
  expect(await ledger.findByText("A test of ours")).toBeVisible();
  expect(ledger.getByRole("link", { name: "Download CSV" })).toHaveAttribute("href", `/v1/tenants/${tenant.slug}/ledger?format=csv`);
});

it("changes the plan at the period's end, and takes that back", async () => {
  renderConsole(`${base}/usage`);
  const plan = await panel("Plan");
  expect(await plan.findByText(/Free since November 22\. The period ends on December 22\./)).toBeVisible();
  await userEvent.click(plan.getByText("At the period's end"));
  await userEvent.click(plan.getByLabelText("Change to"));
  await userEvent.click(await screen.findByRole("option", { name: "Pro", hidden: true }));
  await userEvent.click(plan.getByRole("button", { name: "Change plan" }));
  expect(await plan.findByText(/Pro follows on December 22\./)).toBeVisible();
  await userEvent.click(plan.getByRole("button", { name: "Keep this plan" }));
  expect(await plan.findByText(/The period ends on December 22\./)).toBeVisible();
});

describe("hubs", () => {
  it("creates a hub from the empty list", async () => {
    state.hubs = [];
    renderConsole(`${base}/hubs`);
    await screen.findByText("No hubs yet");
    await userEvent.click(screen.getAllByRole("button", { name: "New hub" })[0] ?? document.body);
    const dialog = await screen.findByRole("dialog", { name: "New hub" });
    await userEvent.type(within(dialog).getByLabelText("Name"), "prices");
    await userEvent.click(within(dialog).getByRole("button", { name: "Create hub" }));
    expect(await screen.findByRole("cell", { name: /prices/ })).toBeVisible();
  });

  it("shows a hub that clients merely use, with no settings to remove", async () => {
    state.hubs = [hub, { ...hub, name: "game", implicit: true }];
    renderConsole(`${base}/hubs`);
    expect(await screen.findByRole("cell", { name: /game.*defaults/ })).toBeVisible();
    expect(screen.getByRole("button", { name: "Remove settings of chat" })).toBeVisible();
    expect(screen.queryByRole("button", { name: "Remove settings of game" })).toBeNull();
    expect(screen.getByRole("button", { name: "Edit game" })).toBeVisible();
  });

  it("offers to try again when the list can't be loaded", async () => {
    server.use(http.get("*/v1/tenants/:tenant/hubs", () => problem(400, "invalid", { detail: "Bad day." }), { once: true }));
    renderConsole(`${base}/hubs`);
    expect(await screen.findByRole("alert")).toHaveTextContent("Bad day.");
    await userEvent.click(screen.getByRole("button", { name: "Try again" }));
    expect(await screen.findByRole("cell", { name: /chat/ })).toBeVisible();
  });

  it("says so where a role may not look", async () => {
    server.use(http.get("*/v1/tenants/:tenant/keys", () => problem(403, "forbidden")));
    renderConsole(`${base}/keys`);
    expect(await screen.findByText("You may not see the keys")).toBeVisible();
  });
});

it("saves nothing over what somebody else changed meanwhile, says so, and shows it", async () => {
  renderConsole(`${base}/hubs`);
  await userEvent.click(await screen.findByRole("button", { name: "Edit chat" }));
  const dialog = within(await screen.findByRole("dialog", { name: "Edit chat" }));
  const keepAlive = await dialog.findByLabelText("Keep-alive");
  state.hubs = state.hubs.map((each) => ({ ...each, keep_alive_seconds: 21, client_timeout_seconds: 60 }));
  await userEvent.clear(keepAlive);
  await userEvent.type(keepAlive, "12");
  await userEvent.click(dialog.getByRole("button", { name: "Save hub" }));
  expect(await dialog.findByRole("alert")).toHaveTextContent("Somebody else changed this hub");
  expect(state.hubs[0]?.keep_alive_seconds).toBe(21);
  await userEvent.click(dialog.getByRole("button", { name: "Show what is there now" }));
  await waitFor(() => expect(dialog.getByLabelText("Keep-alive")).toHaveValue("21 s"));
  await userEvent.click(dialog.getByRole("button", { name: "Save hub" }));
  expect(await screen.findByText("Hub chat is saved and in force on every edge.")).toBeInTheDocument();
});

describe("upstreams", () => {
  const upstream = { mode: "native" as const, timeout_seconds: 5, rules: [{ url: "https://example.com/{event}", category: "messages" }] };

  it("are set where a hub is edited, and an address that may not be reached is refused at its field", async () => {
    renderConsole(`${base}/hubs`);
    await userEvent.click(await screen.findByRole("button", { name: "Edit chat" }));
    const dialog = await screen.findByRole("dialog", { name: "Edit chat" });
    await userEvent.click(await within(dialog).findByRole("button", { name: "Add an address" }));
    const address = within(dialog).getByLabelText("Address");
    await userEvent.type(address, "http://10.0.0.1/");
    await userEvent.click(within(dialog).getByRole("button", { name: "Save hub" }));
    expect(await within(dialog).findByText("The address is not one that may be reached.")).toBeInTheDocument();
    await userEvent.clear(address);
    await userEvent.type(address, "https://example.com/x");
    await userEvent.click(within(dialog).getByRole("button", { name: "Save hub" }));
    expect(await screen.findByText("upstream set")).toBeVisible();
    expect(state.hubs[0]?.upstream?.rules).toEqual([{ url: "https://example.com/x" }]);
  });

  it("show what was posted, and send it again", async () => {
    state.hubs = [{ ...hub, upstream }];
    renderConsole(`${base}/hubs`);
    await userEvent.click(await screen.findByRole("button", { name: "Details of send, 1-0" }));
    let dialog = await screen.findByRole("dialog", { name: "Delivery of send" });
    expect(within(dialog).getByRole("button", { name: "Send again" })).toBeDisabled();
    await userEvent.click(within(dialog).getByRole("button", { name: "Done" }));
    await waitFor(() => expect(screen.queryByRole("dialog")).not.toBeInTheDocument());

    await userEvent.click(screen.getByRole("button", { name: "Details of say, 2-0" }));
    dialog = await screen.findByRole("dialog", { name: "Delivery of say" });
    await userEvent.click(within(dialog).getByRole("button", { name: "Send again" }));
    expect(await screen.findByText("Sent again; the upstream answered 204.")).toBeInTheDocument();
  });

  it("have nothing that axe objects to", async () => {
    state.hubs = [{ ...hub, upstream }];
    renderConsole(`${base}/hubs`);
    await screen.findByRole("region", { name: "Upstream deliveries" });
    await userEvent.click(screen.getByRole("button", { name: "Edit chat" }));
    await within(await screen.findByRole("dialog", { name: "Edit chat" })).findByLabelText("Keep-alive");
    const { violations } = await axe.run(document, { rules: { "color-contrast": { enabled: false } } });
    expect(violations.map(({ id, nodes }) => [id, nodes[0]?.html])).toEqual([]);
  });
});

it("rotates the webhook secret and shows it once", async () => {
  renderConsole(`${base}/keys`);
  await userEvent.click(await screen.findByRole("button", { name: "Rotate webhook secret" }));
  const asked = await screen.findByRole("dialog", { name: "Rotate webhook secret?" });
  await userEvent.click(within(asked).getByRole("button", { name: "Rotate webhook secret" }));
  const dialog = await screen.findByRole("dialog", { name: "Your new webhook secret" });
  expect(within(dialog).getByRole("status", { name: "Webhook secret" })).toHaveTextContent("whsec_");
  await userEvent.click(within(dialog).getByRole("button", { name: "Done" }));
  await waitFor(() => expect(screen.queryByRole("dialog")).not.toBeInTheDocument());
  expect(screen.queryByText(/whsec_MfKQ/)).not.toBeInTheDocument();
});

describe("tokens", () => {
  it("are made with groups and permissions", async () => {
    renderConsole(`${base}/tokens`);
    const make = await panel("Make a token");
    await userEvent.click(make.getByRole("button", { name: "Make token" }));
    expect(await make.findByText("Name the hub that the token is for.")).toBeVisible();
    await userEvent.type(make.getByLabelText("Hub"), "chat");
    await userEvent.type(make.getByLabelText("Groups"), "lobby{enter}");
    await userEvent.click(make.getByRole("button", { name: "Make token" }));
    expect(await make.findByRole("status", { name: "Token" })).toHaveTextContent("eyJ");
    expect(make.getByRole("status", { name: "Id, to revoke it by" })).toHaveTextContent("TOKEN1");
  });

  it("are tried in advance, described or as they are", async () => {
    renderConsole(`${base}/tokens`);
    const check = await panel("Would this be allowed?");
    await userEvent.type(check.getByLabelText("Hub"), "chat");
    await userEvent.click(check.getByRole("button", { name: "Check" }));
    expect(await check.findByText("Name the group.")).toBeVisible();
    await userEvent.type(check.getByLabelText("Group"), "room-7");
    await userEvent.type(check.getByLabelText("Permissions"), "joinGroup:room-*{enter}");
    await userEvent.click(check.getByRole("button", { name: "Check" }));
    const verdict = await check.findByRole("status", { name: "Verdict" });
    await waitFor(() => expect(verdict).toHaveTextContent("Allowed"));
    expect(verdict).toHaveTextContent("joinGroup:room-*, of the token");
    await userEvent.type(check.getByLabelText("Token"), "x.y.z");
    expect(check.queryByLabelText("User id")).toBeNull();
    await userEvent.click(check.getByRole("button", { name: "Check" }));
    await waitFor(() => expect(check.getByRole("status", { name: "Verdict" })).toHaveTextContent("Refused · permission_denied"));
    expect(check.getByRole("status", { name: "Verdict" })).toHaveTextContent("fly: no such action");
  });

  it("come from identity providers that are added, changed and removed", async () => {
    renderConsole(`${base}/tokens`);
    await userEvent.click(await screen.findByRole("button", { name: "Add provider" }));
    let dialog = await screen.findByRole("dialog", { name: "Add an identity provider" });
    fireEvent.change(within(dialog).getByLabelText("Issuer"), { target: { value: "https://login.example.org" } });
    fireEvent.change(within(dialog).getByLabelText("JWKS address"), { target: { value: "https://10.0.0.1/keys" } });
    await userEvent.click(within(dialog).getByRole("button", { name: "Save provider" }));
    expect(await within(dialog).findByText("The address is not one that may be reached.")).toBeInTheDocument();
    fireEvent.change(within(dialog).getByLabelText("JWKS address"), { target: { value: "https://login.example.org/keys" } });
    await userEvent.click(within(dialog).getByRole("button", { name: "Save provider" }));
    expect(await screen.findByRole("cell", { name: "https://login.example.org" })).toBeInTheDocument();
    expect(state.issuers[1]).toMatchObject({ algorithms: ["RS256", "ES256", "EdDSA"], user_claim: "sub", audiences: [] });

    await userEvent.click(screen.getByRole("button", { name: "Edit https://login.example.org" }));
    dialog = await screen.findByRole("dialog", { name: "Edit the identity provider" });
    fireEvent.change(within(dialog).getByLabelText("User id from the claim"), { target: { value: "email" } });
    await userEvent.click(within(dialog).getByRole("button", { name: "Save provider" }));
    expect(await screen.findByRole("cell", { name: "email" })).toBeInTheDocument();

    await userEvent.click(screen.getByRole("button", { name: "Remove https://login.example.org" }));
    dialog = await screen.findByRole("dialog", { name: "Remove the identity provider?" });
    await userEvent.click(within(dialog).getByRole("button", { name: "Remove provider" }));
    await waitFor(() => expect(screen.queryByRole("cell", { name: "https://login.example.org" })).toBeNull());
    expect(state.issuers).toHaveLength(1);
  });

  it("are taken back, and what was revoked is lifted", async () => {
    renderConsole(`${base}/tokens`);
    const revocations = await panel("Revocations");
    expect(await revocations.findByRole("row", { name: /key key-1.*when it is lifted/ })).toBeVisible();
    await userEvent.type(revocations.getByLabelText("User id"), "eve");
    await userEvent.click(revocations.getByRole("button", { name: "Revoke" }));
    expect(await revocations.findByRole("cell", { name: "user eve" })).toBeVisible();
    expect(state.revocations[0]).toMatchObject({ kind: "user", value: "eve" });
    await userEvent.click(revocations.getByRole("button", { name: "Lift the revocation of key key-1" }));
    await waitFor(() => expect(revocations.queryByRole("cell", { name: "key key-1" })).toBeNull());
  });
});

it("regenerates a key only when asked twice, and shows the secret once", async () => {
  renderConsole(`${base}/keys`);
  await userEvent.click(await screen.findByRole("button", { name: "Regenerate secondary key" }));
  await userEvent.click(await screen.findByRole("button", { name: "Regenerate key" }));
  const dialog = await screen.findByRole("dialog", { name: "Your new secondary key" });
  expect(within(dialog).getByRole("status", { name: "Connection string" })).toHaveTextContent("AccessKey=");
  await userEvent.click(within(dialog).getByRole("button", { name: "Done" }));
  await waitFor(() => expect(screen.queryByRole("dialog")).not.toBeInTheDocument());
  expect(screen.queryByText(/AccessKey=/)).not.toBeInTheDocument();
});

describe("every page", () => {
  it.each([
    ["/sign-in", "Sign in", false],
    ["/sign-up", "Create your account", false],
    ["/verify-email?token=t", "Confirm your email address", false],
    ["/forgot-password", "Forgot your password?", false],
    ["/reset-password?token=t", "Set a new password", false],
    ["/confirm-sign-up?token=t", "Confirm your email address", false],
    ["/invitation?token=t", "You are invited", false],
    ["/security", "Security", true],
    [`/accounts/${tenant.account_id}/members`, "Members", true],
    [`/accounts/${tenant.account_id}/tokens`, "API tokens", true],
    [`/accounts/${tenant.account_id}/audit`, "Audit log", true],
    ["/dev/mailbox", "Dev mailbox", false],
    [base, tenant.name, true],
    [`${base}/quick-start`, "Quick start", true],
    [`${base}/hubs`, "Hubs", true],
    [`${base}/keys`, "Keys", true],
    [`${base}/tokens`, "Tokens", true],
    ["/tenants/nobody", "Nothing here", true],
  ])("%s has nothing that axe objects to", async (path, title, signedIn) => {
    state.signedIn = signedIn;
    renderConsole(path);
    await heading(title);
    await waitFor(() => expect(document.title).toMatch(/Signalbox$/));
    // jsdom computes no colours; the browser tests look at contrast.
    const { violations } = await axe.run(document, { rules: { "color-contrast": { enabled: false } } });
    expect(violations.map(({ id, nodes }) => [id, nodes[0]?.html])).toEqual([]);
  });
});
