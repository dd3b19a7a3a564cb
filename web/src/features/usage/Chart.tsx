import "uplot/dist/uPlot.min.css";

import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";

import classes from "./Chart.module.css";
import { isEmpty, scaleTop, type Columns, type Series } from "./series";

interface Props {
  title: string;
  series: readonly Series[];
  columns: Columns;
  format: (value: number) => string;
  /** Smallest top of the scale. */
  floor: number;
  /** Steps of whole days are labelled with dates, shorter ones with times. */
  daily: boolean;
  /** Scale in powers of two, for bytes. */
  binary?: boolean;
}

const height = 200;
const moment = new Intl.DateTimeFormat("en", {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
// A day of the API is a day in UTC.
const date = new Intl.DateTimeFormat("en", { month: "short", day: "numeric", timeZone: "UTC" });
const wholeSteps = [1, 2, 5].flatMap((step) => Array.from({ length: 13 }, (_, power) => step * 10 ** power)).toSorted((a, b) => a - b);
const binarySteps = Array.from({ length: 42 }, (_, power) => 2 ** power);

/** Lines over time. Under the pointer it tells that moment, else the newest. */
export function Chart({ title, series, columns, format, floor, daily, binary = false }: Props) {
  const scheme = useComputedColorScheme("light");
  const { ref: size, width } = useElementSize();
  const host = useRef<HTMLDivElement>(null);
  const [plot, setPlot] = useState<uPlot>();
  const [hovered, setHovered] = useState<number | null>(null);
  const ready = width > 0;

  // The plot is made anew when its looks change; data and width are only set.
  useEffect(() => {
    const element = host.current;
    if (!element || !ready) return undefined;
    const made = new uPlot(
      options({ series, format, floor, onHover: setHovered, style: getComputedStyle(element), scheme, daily, binary }),
      [[], ...series.map(() => [])],
      element,
    );
    setPlot(made);
    return () => made.destroy();
  }, [ready, scheme, series, format, floor, daily, binary]);
  useEffect(() => {
    if (width > 0) plot?.setSize({ width, height });
  }, [plot, width]);
  useEffect(() => plot?.setData(columns), [plot, columns]);

  const [times, ...values] = columns;
  const index = hovered ?? times.length - 1;
  const time = times[index];
  const summary = series
    .map(({ label }, line) => `${label} ${format(values[line]?.[times.length - 1] ?? 0)}`)
    .join(", ");

  return (
    <figure className={classes["chart"]}>
      <figcaption className={classes["caption"]}>
        {series.map(({ label, color }, line) => (
          <span key={label} className={classes["key"]}>
            <span className={classes["swatch"]} style={{ background: `var(${color})` }} aria-hidden />
            {label}
            <span className={classes["value"]}>{format(values[line]?.[index] ?? 0)}</span>
          </span>
        ))}
        <span className={classes["time"]}>{time === undefined ? "" : (daily ? date : moment).format(time * 1000)}</span>
      </figcaption>
      <div ref={size} className={classes["size"]}>
        <div ref={host} role="img" aria-label={`${title}. Newest: ${summary}.`} />
        {isEmpty(columns) && <p className={classes["none"]}>Nothing in this span yet</p>}
      </div>
    </figure>
  );
}

interface OptionInputs {
  series: readonly Series[];
  format: (value: number) => string;
  floor: number;
  onHover: (index: number | null) => void;
  style: CSSStyleDeclaration;
  scheme: "light" | "dark";
  daily: boolean;
  binary: boolean;
}

function options({ series, format, floor, onHover, style, scheme, daily, binary }: OptionInputs): uPlot.Options {
  const css = (name: string) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: css("--sb-ink-soft"),
    grid: { stroke: css("--sb-line"), width: 1 },
    ticks: { show: false },
    font: `12px ${style.fontFamily}`,
  };
  return {
    class: scheme,
    // Days begin at midnight UTC wherever the reader is.
    ...(daily && { tzDate: (at: number) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC") }),
    width: 300,
    height,
    legend: { show: false },
    padding: [8, 18, 0, 0],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { y: { range: (_plot, _min, max) => [0, scaleTop(max ?? 0, floor)] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 28,
        space: 64,
        values: (_plot, splits) => splits.map((at) => (daily ? date : clock).format(at * 1000)),
      },
      {
        ...axis,
        size: 62,
        space: 36,
        incrs: binary ? binarySteps : wholeSteps,
        values: (_plot, splits) => splits.map(format),
      },
    ],
    series: [
      {},
      ...series.map(({ label, color }) => ({
        label,
        stroke: css(color),
        fill: `color-mix(in srgb, ${css(color)} 10%, transparent)`,
        width: 2,
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [({ cursor }) => onHover(cursor.idx ?? null)] },
  };
}
