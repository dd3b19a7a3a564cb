const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });

/** 12,345 */
export const formatCount = (value: number): string => plain.format(value);

/** 12.3K; for axes and narrow places. */
export const formatCompact = (value: number): string => compact.format(value);

/** Bytes in binary steps: 512 B, 1.5 KiB, 3 MiB. */
export function formatBytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let scaled = value;
  let unit = 0;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  return `${plain.format(scaled)} ${units[unit] ?? "B"}`;
}

/** A limit's value with its unit. */
export const formatLimit = (value: number, unit: string): string =>
  unit.startsWith("bytes") ? formatBytes(value) + unit.slice("bytes".length) : `${formatCount(value)} ${unit}`;

/** A part of a whole as 0..100, never beyond; 0 when there is no whole. */
export function percentOf(part: number, whole: number): number {
  if (whole <= 0) return 0;
  return Math.min(100, Math.max(0, (part / whole) * 100));
}

/** Percent for reading: tiny shares stay visible as "<1 %". */
export function formatPercent(percent: number): string {
  if (percent > 0 && percent < 1) return "<1 %";
  return `${Math.round(percent)} %`;
}

/** "just now", "3 minutes ago", "in 59 minutes". */
export function formatRelative(at: number, now: number): string {
  const seconds = Math.round((at - now) / 1000);
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  if (size < 60) return relative.format(seconds, "second");
  if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (size < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
  return relative.format(Math.round(seconds / 86_400), "day");
}

/** Date and time in the reader's zone. */
export const formatAbsolute = (at: number): string => absolute.format(at);
