import { Text } from "@mantine/core";
import { useId } from "react";

import { CopyButton } from "./CopyButton";
import classes from "./CopyField.module.css";

interface Props {
  label: string;
  value: string;
  /** Break the value over lines instead of cutting it. */
  wrap?: boolean;
}

/** A value to read and copy: an endpoint, a secret, a connection string. */
export function CopyField({ label, value, wrap = false }: Props) {
  const id = useId();
  return (
    <div className={classes["field"]}>
      <Text size="sm" fw={500} id={id}>
        {label}
      </Text>
      <div className={classes["box"]}>
        <output className={classes["value"]} data-wrap={wrap || undefined} aria-labelledby={id} title={value}>
          {value}
        </output>
        <CopyButton value={value} what={label.toLowerCase()} />
      </div>
    </div>
  );
}
