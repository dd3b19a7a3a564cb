import { useQuery } from "@tanstack/react-query";

import { activityQuery } from "@/shared/api/queries";
import type { Tenant } from "@/shared/api/types";
import { useLiveStatus, usePollInterval } from "@/shared/live/LiveProvider";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { SignalLamp } from "@/shared/ui/SignalLamp";
import { lights } from "./lights";
import classes from "./SignalPanel.module.css";

/** The two lights: has anything connected, has anything been published. */
export function SignalPanel({ tenant }: { tenant: Tenant }) {
  const refetchInterval = usePollInterval(2_000);
  const activity = useQuery({ ...activityQuery(tenant.slug), refetchInterval });
  const live = useLiveStatus();

  return (
    <section className={classes["panel"]} aria-label="Progress">
      <ul className={classes["lights"]} aria-live="polite">
        {lights(activity.data).map(({ id, on, text, at }) => (
          <li key={id} className={classes["light"]} data-testid={`light-${id}`} data-on={on}>
            <span className={classes["head"]}>
              <SignalLamp aspect={on ? "clear" : "waiting"} size={16} />
            </span>
            <span className={classes["words"]}>
              <span className={classes["text"]}>{text}</span>
              <span className={classes["when"]}>
                {at ? (
                  <RelativeTime at={at} />
                ) : id === "connection" ? (
                  "Step 1, or “Try it here”"
                ) : (
                  "Step 2"
                )}
              </span>
            </span>
          </li>
        ))}
      </ul>
      <p className={classes["source"]}>
        {live === "live" ? "Live, through Signalbox itself" : "Checking every 2 seconds"}
      </p>
    </section>
  );
}
