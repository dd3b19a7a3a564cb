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
  const connection = useRef<HubConnection>(undefined);

  const stop = useCallback(() => {
    const current = connection.current;
    connection.current = undefined;
    dispatch({ type: "stopped" });
    void current?.stop();
  }, []);
  useEffect(() => stop, [stop]);

  const start = async (hub: string, group: string) => {
    stop();
    dispatch({ type: "start" });
    let mine: HubConnection | undefined;
    const current = () => mine !== undefined && connection.current === mine;
    const fail = (error: unknown) => {
      if (mine && !current()) return;
      connection.current = undefined;
      dispatch({ type: "failed", reason: error instanceof Error ? error.message : "The connection failed." });
      void mine?.stop();
    };
    const ticket = async () => {
      const { data } = await api.POST("/v1/tenants/{tenant}/client-tokens", {
        params: { path: { tenant: tenant.slug } },
        body: { hub, permissions: ["readPresence"], expires_in_seconds: lifeSeconds },
      });
      if (!data) throw new Error("a token answer without a body");
      return data;
    };
    // What comes before the answer has been looked at belongs behind it.
    let early: PresenceChange[] | undefined;
    const snapshot = async () => {
      if (!mine || !current()) return;
      early = [];
      const { members } = await mine.invoke<{ members: unknown }>("$watchPresence", group);
      if (!current()) return;
      dispatch({ type: "snapshot", members: readMembers(members) });
      for (const change of early) dispatch({ type: "change", change });
      early = undefined;
    };
    try {
      const { buildConnection } = await import("@/shared/live/connection");
      let first: Awaited<ReturnType<typeof ticket>> | undefined = await ticket();
      const token = async () => {
        const { token: text } = first ?? (await ticket());
        first = undefined;
        return text;
      };
      mine = buildConnection(first.url, token, ({ target, arguments: [argument] }) => {
        const change = target === "$presence" && current() ? readChange(argument, group) : undefined;
        if (!change) return;
        if (change.reset) void snapshot().catch(fail);
        else if (early) early.push(change);
        else dispatch({ type: "change", change });
      });
      connection.current = mine;
      mine.onreconnecting(() => current() && dispatch({ type: "lost" }));
      mine.onreconnected(() => void snapshot().catch(fail));
      mine.onclose((error) => current() && fail(error ?? new Error("The service closed the connection.")));
      await mine.start();
      await snapshot();
    } catch (error) {
      fail(error);
    }
  };

  return { state, start: (hub: string, group: string) => void start(hub, group), stop };
}
