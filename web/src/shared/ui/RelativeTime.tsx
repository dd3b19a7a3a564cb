import { formatAbsolute, formatRelative } from "../lib/format";
import { useNow } from "../lib/useNow";

/** A time as people say it, exact on hover; renewed while it is on the page. */
export function RelativeTime({ at }: { at: string }) {
  const now = useNow(10_000);
  const time = Date.parse(at);
  return (
    <time dateTime={at} title={formatAbsolute(time)}>
      {formatRelative(time, now)}
    </time>
  );
}
