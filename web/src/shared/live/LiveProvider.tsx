import { useQueryClient } from "@tanstack/react-query";
import { createContext, useContext, useEffect, useState, type ReactNode } from "react";

import { api } from "../api/client";
import { activityQuery, limitsQuery, usageQuery } from "../api/queries";
import type { Tenant, Usage } from "../api/types";
import { mergeUsage, readActivity, readUsage } from "./events";
import { openFeed, type LiveStatus } from "./feed";

const LiveContext = createContext<LiveStatus>("connecting");

// The coarser charts are computed by the API; once in a while is enough.
const coarseEveryMs = 15_000;

/** Keeps a tenant's activity and usage fresh through Signalbox itself. */
export function LiveProvider({ tenant, children }: { tenant: Tenant; children: ReactNode }) {
  const queryClient = useQueryClient();
  const [status, setStatus] = useState<LiveStatus>("connecting");
  const { id, slug } = tenant;

  useEffect(() => {
    const activityKey = activityQuery(slug).queryKey;
    const minuteKey = usageQuery(slug, "minute").queryKey;
    const coarseKeys = [
      usageQuery(slug, "hour").queryKey,
      usageQuery(slug, "day").queryKey,
      limitsQuery(slug).queryKey,
    ];
    let coarseAt = Date.now();
    return openFeed({
      ticket: async () => {
        const { data } = await api.POST("/v1/tenants/{tenant}/live", { params: { path: { tenant: slug } } });
        if (!data) throw new Error("live connection without a body");
        return data;
      },
      // SignalR is a chunk of its own: the first paint does not wait for it.
      build: async (...args) => (await import("./connection")).buildConnection(...args),
      onStatus: (next) => {
        setStatus(next);
        // Events may have passed while nobody listened.
        if (next === "live") {
          for (const queryKey of [activityKey, minuteKey, ...coarseKeys]) {
            void queryClient.invalidateQueries({ queryKey });
          }
        }
      },
      onMessage: ({ target, arguments: [argument] }) => {
        if (target === "activity") {
          const activity = readActivity(argument, id);
          if (activity) queryClient.setQueryData(activityKey, activity);
        }
        if (target === "usage") {
          const live = readUsage(argument, id);
          if (!live) return;
          queryClient.setQueryData<Usage>(minuteKey, (usage) => usage && mergeUsage(usage, live));
          if (Date.now() - coarseAt > coarseEveryMs) {
            coarseAt = Date.now();
            for (const queryKey of coarseKeys) void queryClient.invalidateQueries({ queryKey });
          }
        }
      },
    });
  }, [id, slug, queryClient]);

  return <LiveContext value={status}>{children}</LiveContext>;
}

/** Whether events of this tenant arrive by themselves. */
export const useLiveStatus = (): LiveStatus => useContext(LiveContext);

/** How often to ask instead, in milliseconds; false while events arrive. */
export function usePollInterval(everyMs: number): number | false {
  return useLiveStatus() === "live" ? false : everyMs;
}
