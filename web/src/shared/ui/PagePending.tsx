import { Skeleton } from "@mantine/core";

import { SkeletonRows } from "./states";
import classes from "./PagePending.module.css";

/** Stands where a page will be, in the page's own measures. */
export function PagePending() {
  return (
    <div className={classes["page"]}>
      <Skeleton height={32} width={220} radius="md" />
      <SkeletonRows rows={3} height={120} />
    </div>
  );
}
