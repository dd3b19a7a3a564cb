import classes from "./SignalLamp.module.css";

/** dark: nothing yet; waiting: looked out for; clear: it came; fault: it can't come. */
export type Aspect = "dark" | "waiting" | "clear" | "fault";

/** The lamp of a signal. It is decoration: say the state in words beside it. */
export function SignalLamp({ aspect, size = 12 }: { aspect: Aspect; size?: number }) {
  return (
    <span
      className={classes["lamp"]}
      data-aspect={aspect}
      style={{ width: size, height: size }}
      aria-hidden
    />
  );
}
