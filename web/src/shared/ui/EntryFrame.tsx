import { Text, Title } from "@mantine/core";
import type { ReactNode } from "react";

import { BrandMark } from "./BrandMark";
import classes from "./EntryFrame.module.css";

interface Props {
  title: string;
  description?: ReactNode;
  /** One sentence in large letters, beside the form where there is room. */
  claim: string;
  /** What is below it: a name and a sentence each. */
  points: readonly (readonly [name: string, text: string])[];
  children: ReactNode;
}

/** The frame of the pages before signing in: the form, and beside it what it is for. */
export function EntryFrame({ title, description, claim, points, children }: Props) {
  return (
    <div className={classes["frame"]}>
      <main className={classes["form"]}>
        <div className={classes["inner"]}>
          <BrandMark named size={32} />
          <Title order={1} mt={36}>
            {title}
          </Title>
          {description && (
            <Text c="dimmed" mt={4}>
              {description}
            </Text>
          )}
          <div className={classes["body"]}>{children}</div>
        </div>
      </main>
      <aside className={classes["pitch"]} aria-label="About Signalbox">
        <Junction />
        <p className={classes["claim"]}>{claim}</p>
        <ul className={classes["promises"]}>
          {points.map(([name, text]) => (
            <li key={name}>
              <strong>{name}</strong> {text}
            </li>
          ))}
        </ul>
      </aside>
    </div>
  );
}

// One line in, many out: the track plan of a junction, with its signals.
function Junction() {
  const tracks = [40, 100, 160, 220, 280];
  return (
    <svg viewBox="0 0 480 320" className={classes["junction"]} aria-hidden="true">
      {tracks.map((y) => (
        <path key={y} d={`M20 160H110C200 160 200 ${y} 290 ${y}H440`} className={classes["track"]} />
      ))}
      {tracks.map((y, index) => (
        <circle key={y} cx="446" cy={y} r="7" className={index === 1 ? classes["clear"] : classes["stop"]} />
      ))}
      <path d="M20 160H110C200 160 200 100 290 100H440" className={classes["message"]} pathLength="100" />
      <circle cx="20" cy="160" r="10" className={classes["source"]} />
    </svg>
  );
}
