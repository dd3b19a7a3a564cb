import type { HubConnection } from "@microsoft/signalr";
import { useCallback, useEffect, useReducer, useRef } from "react";

import { api } from "@/shared/api/client";
import type { Tenant } from "@/shared/api/types";
import { initialPresence, readChange, readMembers, watch, type PresenceChange } from "./presence";

/** How long a token of this page is good for; each connect takes another. */
const lifeSeconds = 3600;

/** The page as a client that watches one group of a hub, until it is left. */
export function usePresence(tenant: Tenant) {
  const [state, dispatch] = useReducer(watch, initialPresence);
  /** What is watched now: a new object for each start, so that an older one finds out that it is over. */
  const watching = useRef<{ connection?: HubConnection }>(undefined);

  const stop = useCallback(() => {
    const { connection } = watching.current ?? {};
    watching.current = undefined;
    dispatch({ type: "stopped" });
    void connection?.stop();
  }, []);
  useEffect(() => stop, [stop]);

  const start = async (hub: string, group: string) => {
    stop();
    dispatch({ type: "start" });
    const mine: { connection?: HubConnection } = {};
    watching.current = mine;
    const current = () => watching.current === mine;
    const fail = (error: unknown) => {
      if (!current()) return;
      watching.current = undefined;
      dispatch({ type: "failed", reason: error instanceof Error ? error.message : "The connection failed." });
      void mine.connection?.stop();
    };
    const ticket = async () => {
      const { data } = await api.POST("/v1/tenants/{tenant}/client-tokens", {
        params: { path: { tenant: tenant.slug } },
        body: { hub, permissions: ["readPresence"], expires_in_seconds: lifeSeconds },
      });
      if (!data) throw new Error("a token answer without a body");
      return data;
    };
    // What comes before the answer has been looked at belongs behind it. Where everything
    // is to be asked for anew meanwhile, the newest answer counts.
    let early: PresenceChange[] | undefined;
    const snapshot = async () => {
      const behind: PresenceChange[] = [];
      early = behind;
      const answer = await mine.connection?.invoke<{ members: unknown }>("$watchPresence", group);
      if (!answer || !current() || early !== behind) return;
      early = undefined;
      dispatch({ type: "snapshot", members: readMembers(answer.members) });
      for (const change of behind) dispatch({ type: "change", change });
    };
    try {
      const { buildConnection } = await import("@/shared/live/connection");
      let first: Awaited<ReturnType<typeof ticket>> | undefined = await ticket();
      if (!current()) return;
      const token = async () => {
        const { token: text } = first ?? (await ticket());
        first = undefined;
        return text;
      };
      const connection = buildConnection(first.url, token, ({ target, arguments: [argument] }) => {
        const change = target === "$presence" && current() ? readChange(argument, group) : undefined;
        if (!change) return;
        if (change.reset) void snapshot().catch(fail);
        else if (early) early.push(change);
        else dispatch({ type: "change", change });
      });
      mine.connection = connection;
      connection.onreconnecting(() => current() && dispatch({ type: "lost" }));
      connection.onreconnected(() => void snapshot().catch(fail));
      connection.onclose((error) => fail(error ?? new Error("The service closed the connection.")));
      await connection.start();
      await snapshot();
    } catch (error) {
      fail(error);
    }
  };

  return { state, start: (hub: string, group: string) => void start(hub, group), stop };
}
