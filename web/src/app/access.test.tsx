import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { http, HttpResponse } from "msw";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";

import { hub, tenant } from "../../test/mock/data";
import { mockServer, renderConsole } from "../../test/render";

const { state, server } = mockServer();
beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => {
  server.resetHandlers();
  Object.assign(state, {
    signedIn: true, quiet: false, hubs: [hub], role: undefined, secondFactor: false, confirmSignUps: false, invitations: [],
  });
});
afterAll(() => server.close());

const account = `/accounts/${tenant.account_id}`;
const heading = (name: string) => screen.findByRole("heading", { level: 1, name });

async function submitSignIn() {
  await heading("Sign in");
  await userEvent.type(screen.getByLabelText("Email"), "ada@example.com");
  await userEvent.type(screen.getByLabelText("Password"), "long enough it is");
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
}

describe("signing in", () => {
  it("asks for a code in a second step, and says when it is wrong", async () => {
    Object.assign(state, { signedIn: false, secondFactor: true });
    renderConsole("/sign-in?next=/security");
    await submitSignIn();
    await heading("Second step");
    await userEvent.type(screen.getByLabelText("Code"), "000000");
    await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
    expect(await screen.findByRole("alert")).toHaveTextContent("not right");
    await userEvent.clear(screen.getByLabelText("Code"));
    await userEvent.type(screen.getByLabelText("Code"), "123456");
    await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
    await heading("Security");
  });

  it("leads to the provider, and says what went wrong there", async () => {
    state.signedIn = false;
    const assign = vi.fn();
    vi.stubGlobal("location", { ...window.location, origin: window.location.origin, assign });
    let body: unknown;
    server.use(
      http.post("*/v1/session/oidc", async ({ request }) => {
        body = await request.json();
        return HttpResponse.json({ url: "https://id.example.com/authorize" });
      }),
    );
    renderConsole("/sign-in?error=link_first&next=/security");
    await heading("Sign in");
    expect(screen.getByRole("alert")).toHaveTextContent("has not confirmed it");
    await userEvent.click(await screen.findByRole("button", { name: "Continue with Acme SSO" }));
    await waitFor(() => expect(assign).toHaveBeenCalledWith("https://id.example.com/authorize"));
    expect(body).toEqual({ remember: false, next: "/security" });
    vi.unstubAllGlobals();
  });

  it("says to look at the mail, where sign-ups are confirmed first and for a reset", async () => {
    Object.assign(state, { signedIn: false, confirmSignUps: true });
    renderConsole("/sign-up");
    await heading("Create your account");
    await userEvent.type(screen.getByLabelText("Email"), "new@example.com");
    await userEvent.type(screen.getByLabelText("Password"), "long enough it is");
    await userEvent.click(screen.getByRole("button", { name: "Create account" }));
    await heading("Look at your mail");
    expect(screen.getByText("new@example.com")).toBeVisible();
  });

  it("takes an invited person's password and lets them in", async () => {
    state.signedIn = false;
    renderConsole("/invitation?token=t");
    expect(await screen.findByText("Acme", { selector: "strong" })).toBeVisible();
    await userEvent.type(screen.getByLabelText("Password"), "long enough it is");
    await userEvent.click(screen.getByRole("button", { name: "Join Acme" }));
    await heading(tenant.name);
  });
});

describe("members", () => {
  it("are invited, changed and removed by an owner", async () => {
    renderConsole(`${account}/members`);
    await heading("Members");
    await userEvent.click(screen.getByRole("button", { name: "Invite" }));
    const dialog = await screen.findByRole("dialog", { name: "Invite somebody" });
    await userEvent.type(within(dialog).getByLabelText("Email"), "eve@example.com");
    await userEvent.click(within(dialog).getByRole("button", { name: "Send invitation" }));
    const open = await screen.findByRole("table", { name: "Invitations" });
    expect(within(open).getByText("eve@example.com")).toBeVisible();
    expect(screen.getByLabelText("Role of bob@example.com", { selector: "input" })).toHaveValue("Developer");
    expect(screen.getByRole("button", { name: "Remove bob@example.com" })).toBeEnabled();
    expect(screen.getByRole("switch", { name: /Require a second factor/ })).toBeVisible();
  });

  it("are only seen by a developer", async () => {
    state.role = "developer";
    renderConsole(`${account}/members`);
    await heading("Members");
    expect(await screen.findByText("bob@example.com")).toBeVisible();
    for (const name of ["Invite", "Remove bob@example.com", "Rename"]) {
      expect(screen.queryByRole("button", { name })).not.toBeInTheDocument();
    }
    expect(screen.queryByRole("switch")).not.toBeInTheDocument();
    expect(screen.getByRole("button", { name: "Leave ada@example.com" })).toBeVisible();
  });
});

it("shows the secret of a service token once", async () => {
  renderConsole(`${account}/tokens`);
  await heading("API tokens");
  expect(await screen.findByText("keys:read")).toBeInTheDocument();
  await userEvent.click(screen.getByRole("button", { name: "New token" }));
  const dialog = await screen.findByRole("dialog", { name: "New API token" });
  await userEvent.click(within(dialog).getByText("Service"));
  await userEvent.type(within(dialog).getByLabelText("Name"), "Deploy");
  await userEvent.click(within(dialog).getByRole("button", { name: "Create token" }));
  const made = await screen.findByRole("dialog", { name: "Your new API token" });
  expect(within(made).getByRole("status", { name: "API token" })).toHaveTextContent("sbt_SERVICE");
  await userEvent.click(within(made).getByRole("button", { name: "Done" }));
  await waitFor(() => expect(screen.queryByText("sbt_SERVICE")).not.toBeInTheDocument());
});

it("lets a viewer make no tokens", async () => {
  state.role = "viewer";
  renderConsole(`${account}/tokens`);
  await heading("API tokens");
  await screen.findByText("Laptop");
  expect(screen.queryByRole("button", { name: "New token" })).not.toBeInTheDocument();
});

it("sets up a second factor with a QR code made in the page", async () => {
  renderConsole("/security");
  await heading("Security");
  await userEvent.click(await screen.findByRole("button", { name: "Set up" }));
  const dialog = await screen.findByRole("dialog", { name: "Set up a second factor" });
  await userEvent.type(within(dialog).getByLabelText("Password"), "long enough it is");
  await userEvent.click(within(dialog).getByRole("button", { name: "Continue" }));
  expect(await within(dialog).findByRole("img", { name: /QR code/ })).toBeInTheDocument();
  await userEvent.type(within(dialog).getByLabelText("Code"), "123456");
  await userEvent.click(within(dialog).getByRole("button", { name: "Switch on" }));
  expect(await within(dialog).findByRole("status", { name: "Recovery codes" })).toHaveTextContent("AAAA-BBBB-CCCC-DDDD");
});
