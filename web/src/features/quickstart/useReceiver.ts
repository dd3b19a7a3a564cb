import type { HubConnection } from "@microsoft/signalr";
import { useCallback, useEffect, useReducer, useRef } from "react";

import type { Tokens } from "./useTokens";
import { initialReceiver, receive } from "./receiver";

/** The page as a client of the hub that the tokens are for, until it is left. */
export function useReceiver(tokens: Tokens | undefined) {
  const [state, dispatch] = useReducer(receive, initialReceiver);
  const connection = useRef<HubConnection>(undefined);
  // Reconnects ask for the token of the moment, not that of the click.
  const latest = useRef(tokens);
  useEffect(() => {
    latest.current = tokens;
  }, [tokens]);

  const disconnect = useCallback(() => {
    const current = connection.current;
    connection.current = undefined;
    dispatch({ type: "stopped" });
    void current?.stop();
  }, []);
  useEffect(() => disconnect, [disconnect]);

  const connect = async () => {
    const url = latest.current?.clientUrl;
    if (!url || connection.current) return;
    dispatch({ type: "start" });
    let mine: HubConnection | undefined;
    const current = () => mine !== undefined && connection.current === mine;
    try {
      const { buildConnection } = await import("@/shared/live/connection");
      const token = () => Promise.resolve(latest.current?.clientToken ?? "");
      mine = buildConnection(url, token, (message) => {
        if (current()) dispatch({ type: "message", message, at: new Date().toISOString() });
      });
      connection.current = mine;
      mine.onreconnecting(() => current() && dispatch({ type: "lost" }));
      mine.onreconnected(() => current() && dispatch({ type: "connected" }));
      mine.onclose((error) => {
        if (!current()) return;
        connection.current = undefined;
        dispatch({ type: "failed", reason: error?.message ?? "The service closed the connection." });
      });
      await mine.start();
      if (current()) dispatch({ type: "connected" });
    } catch (error) {
      if (mine && !current()) return;
      connection.current = undefined;
      dispatch({ type: "failed", reason: error instanceof Error ? error.message : "The connection failed." });
    }
  };

  return { state, connect: () => void connect(), disconnect, clear: () => dispatch({ type: "clear" }) };
}
