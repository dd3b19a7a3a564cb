import type { UsagePoint, UsageValues } from "@/shared/api/types";

/** One line of a chart. */
export interface Series {
  label: string;
  /** The CSS variable of its colour. */
  color: string;
  pick: (values: UsageValues) => number;
}

/** Columns as uPlot takes them: seconds since 1970, then one column per series. */
export type Columns = [number[], ...number[][]];

/** Usage points as columns, oldest first. */
export function toColumns(points: readonly UsagePoint[], series: readonly Series[]): Columns {
  return [
    points.map(({ at }) => Date.parse(at) / 1000),
    ...series.map(({ pick }) => points.map(({ values }) => pick(values))),
  ];
}

/** Whether there is anything to draw. */
export function isEmpty([, ...columns]: Columns): boolean {
  return columns.every((column) => column.every((value) => value === 0));
}

/**
 * The top of a chart's scale: a little above the largest value, never below
 * `floor`, so that a single message does not look like a mountain.
 */
export function scaleTop(largest: number, floor: number): number {
  return Math.max(floor, largest * 1.08);
}

/** Refusals by code, most frequent first, codes without any left out. */
export function refusals(refused: Readonly<Record<string, number>>): { code: string; count: number }[] {
  return Object.entries(refused)
    .filter(([, count]) => count > 0)
    .map(([code, count]) => ({ code, count }))
    .toSorted((a, b) => b.count - a.count || a.code.localeCompare(b.code));
}
