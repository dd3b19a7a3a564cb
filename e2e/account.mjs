// The control plane, as a program uses it: a fresh account for each test.
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";

/** Calls the control plane; the body of the answer must have the wanted status. */
export async function call(apiUrl, credentials, method, path, body, want = 200) {
  const response = await fetch(apiUrl + path, {
    method,
    headers: { ...credentials, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  assert.equal(response.status, want, `${method} ${path}: ${text}`);
  return text ? { body: JSON.parse(text), headers: response.headers } : { headers: response.headers };
}

/** Signs a new person up; the tenant has the shape of those in dev.json. */
export async function signUp(apiUrl) {
  const name = `e2e-${randomBytes(6).toString("hex")}`;
  const password = randomBytes(12).toString("hex");
  const email = `${name}@example.com`;
  const { body, headers } = await call(apiUrl, {}, "POST", "/v1/signup", { email, password, tenant_slug: name, tenant_name: name }, 201);
  const cookie = headers.getSetCookie().map((line) => line.split(";")[0]).join("; ");
  const session = { cookie };
  const { body: token } = await call(apiUrl, session, "POST", `/v1/tenants/${name}/client-tokens`, { hub: "chat" }, 201);
  const base = body.tenant.endpoint;
  const tenant = { id: body.tenant.id, slug: name, hub: "chat", client_url: token.url, rest_url: base, access_key: body.key.secret };
  return { email, password, session, tenant, token: token.token, signUp: body };
}

/** The code of an authenticator app (RFC 6238) for now, or some steps later. */
export function totp(secret, later = 0) {
  const bits = [...secret].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + later));
  const mac = createHmac("sha1", key).update(step).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}
