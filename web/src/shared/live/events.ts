import { z } from "@/shared/zod";

import type { Activity, LiveUsage, Usage, UsagePoint, UsageValues } from "../api/types";

const count = z.number().int().nonnegative();

const activitySchema = z.object({
  tenant_id: z.string(),
  connections_now: count,
  first_connection_at: z.string().optional(),
  first_message_at: z.string().optional(),
  last_message_at: z.string().optional(),
});

const usageSchema = z.object({
  tenant_id: z.string(),
  points: z.array(
    z.object({
      at: z.string(),
      values: z.object({
        messages: count,
        messages_accepted: count,
        messages_delivered: count,
        delivered_bytes: count,
        received_bytes: count,
        connection_minutes: count,
        connections_opened: count,
        peak_connections: count,
        refused: z.record(z.string(), count),
      }),
    }),
  ),
  month: z.object({
    from: z.string(),
    to: z.string(),
    plan: z.string(),
    messages: count,
    connection_minutes: count,
    account_messages: count,
    account_connection_minutes: count,
    messages_allowed: count,
    connection_minutes_allowed: count,
  }),
});

/** The argument of the live method `activity`, or undefined when it is not of this tenant or malformed. */
export function readActivity(argument: unknown, tenantId: string): Activity | undefined {
  const parsed = activitySchema.safeParse(argument);
  return parsed.success && parsed.data.tenant_id === tenantId ? parsed.data : undefined;
}

/** The argument of the live method `usage`, or undefined when it is not of this tenant or malformed. */
export function readUsage(argument: unknown, tenantId: string): LiveUsage | undefined {
  const parsed = usageSchema.safeParse(argument);
  return parsed.success && parsed.data.tenant_id === tenantId ? parsed.data : undefined;
}

/**
 * Usage by minute with the live points in it: a point replaces the one with the
 * same start, newer ones push the oldest out, so that the span stays as long.
 */
export function mergeUsage(usage: Usage, live: LiveUsage): Usage {
  const byStart = new Map<number, UsagePoint>();
  for (const point of [...usage.points, ...live.points]) byStart.set(Date.parse(point.at), point);
  const points = [...byStart.entries()]
    .toSorted(([a], [b]) => a - b)
    .map(([, point]) => point)
    .slice(-Math.max(usage.points.length, 1));
  const first = points[0];
  return { ...usage, from: first?.at ?? usage.from, points, totals: sumPoints(points), month: live.month };
}

function sumPoints(points: readonly UsagePoint[]): UsageValues {
  const total: UsageValues = {
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
  for (const { values } of points) {
    total.messages += values.messages;
    total.messages_accepted += values.messages_accepted;
    total.messages_delivered += values.messages_delivered;
    total.delivered_bytes += values.delivered_bytes;
    total.received_bytes += values.received_bytes;
    total.connection_minutes += values.connection_minutes;
    total.connections_opened += values.connections_opened;
    total.peak_connections = Math.max(total.peak_connections, values.peak_connections);
    for (const [code, refusals] of Object.entries(values.refused)) {
      total.refused[code] = (total.refused[code] ?? 0) + refusals;
    }
  }
  return total;
}
