import { Progress, Text } from "@mantine/core";

import { formatPercent, percentOf } from "../lib/format";
import classes from "./Meter.module.css";

interface Props {
  label: string;
  used: number;
  allowed: number;
  /** Writes a number with its unit. */
  format: (value: number) => string;
  note?: string;
}

/** How much of an allowance is used; it warns from 80 %, and is red at the end. */
export function Meter({ label, used, allowed, format, note }: Props) {
  const percent = percentOf(used, allowed);
  // A tiny share would be written with an exponent, which is no valid ARIA value.
  const shown = Math.round(percent * 100) / 100;
  const level = percent >= 100 ? "full" : percent >= 80 ? "high" : "fine";
  return (
    <div className={classes["meter"]} data-level={level}>
      <div className={classes["row"]}>
        <Text size="sm" fw={500}>
          {label}
        </Text>
        <Text size="sm" c="dimmed" className="tabular">
          {formatPercent(percent)}
        </Text>
      </div>
      <Progress.Root size={8} radius="xl" className={classes["track"] ?? ""}>
        <Progress.Section
          value={shown}
          color="var(--meter-color)"
          aria-label={label}
          aria-valuetext={`${format(used)} of ${format(allowed)}`}
        />
      </Progress.Root>
      <Text size="sm" c="dimmed" className="tabular">
        <span className={classes["used"]}>{format(used)}</span> of {format(allowed)}
        {note && ` · ${note}`}
      </Text>
    </div>
  );
}
