import type { UsageStep } from "@/shared/api/types";

/** The spans that the usage page shows. */
export const ranges = ["1h", "24h", "30d"] as const;
export type Range = (typeof ranges)[number];

/** What each span is called and how finely it is drawn. */
export const rangeInfo: Record<Range, { label: string; step: UsageStep; per: string; words: string }> = {
  "1h": { label: "1 hour", step: "minute", per: "minute", words: "the last hour" },
  "24h": { label: "24 hours", step: "hour", per: "hour", words: "the last 24 hours" },
  "30d": { label: "30 days", step: "day", per: "day", words: "the last 30 days" },
};
