import type { Handler, Hub, HubSettings } from "@/shared/api/types";

/** The values of the hub form. */
export interface HubForm {
  name: string;
  handler: Handler;
  keepAlive: number | string;
  clientTimeout: number | string;
  origins: string[];
}

/** API fields by the form's names, for problems. */
export const fieldNames = {
  hub: "name",
  name: "name",
  handler: "handler",
  keep_alive_seconds: "keepAlive",
  client_timeout_seconds: "clientTimeout",
  allowed_origins: "origins",
} as const;

/** What the form begins with: the hub's settings, or the defaults. */
export function initialForm(hub: Hub | undefined): HubForm {
  return {
    name: hub?.name ?? "",
    handler: hub?.handler ?? "auto",
    keepAlive: hub?.keep_alive_seconds ?? 15,
    clientTimeout: hub?.client_timeout_seconds ?? 30,
    origins: hub?.allowed_origins ?? [],
  };
}

/** The request body for a checked form. */
export function settingsOf(form: HubForm): HubSettings {
  return {
    handler: form.handler,
    keep_alive_seconds: Number(form.keepAlive),
    client_timeout_seconds: Number(form.clientTimeout),
    allowed_origins: form.origins,
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

/** What is wrong with the origins; null when nothing is. */
export function checkOrigins(origins: readonly string[]): string | null {
  const bad = origins.find((origin) => !/^https?:\/\/[^/?#\s]+$/.test(origin));
  return bad === undefined ? null : `${bad} is no origin. Write it like https://app.example.com, without a path.`;
}

function inRange(value: number | string, min: number, max: number): boolean {
  const number = Number(value);
  return value !== "" && Number.isInteger(number) && number >= min && number <= max;
}
