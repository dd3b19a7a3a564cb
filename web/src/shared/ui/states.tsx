import { Button, Skeleton, Stack, Text, Title } from "@mantine/core";
import { CircleAlert, Lock } from "lucide-react";
import type { ReactNode } from "react";

import { toProblem } from "../api/problem";
import { Notice } from "./Notice";
import classes from "./states.module.css";

interface EmptyProps {
  icon: ReactNode;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}

/** What a list shows while nothing is in it: what it is for and the next step. */
export function EmptyState({ icon, title, children, action }: EmptyProps) {
  return (
    <div className={classes["empty"]}>
      <div className={classes["icon"]} aria-hidden>
        {icon}
      </div>
      <Title order={2} size="h3">
        {title}
      </Title>
      {children && (
        <Text c="dimmed" size="sm" maw="52ch">
          {children}
        </Text>
      )}
      {action && <div className={classes["action"]}>{action}</div>}
    </div>
  );
}

interface ErrorProps {
  error: unknown;
  /** What was being loaded: "the hubs". */
  what: string;
  onRetry?: (() => void) | undefined;
}

/** A failed load: what, why, what to do, and the id for support. */
export function ErrorState({ error, what, onRetry }: ErrorProps) {
  const problem = toProblem(error);
  if (problem.status === 403) {
    return (
      <EmptyState icon={<Lock size={22} />} title={`You may not see ${what}`}>
        {problem.message} Ask an owner of the account for a role that does.
      </EmptyState>
    );
  }
  return (
    <Notice tone="bad" urgent icon={<CircleAlert size={18} />} title={`Could not load ${what}`}>
      <Stack gap="xs" align="flex-start">
        <span>
          {problem.message}
          {problem.requestId && ` Request ${problem.requestId}.`}
        </span>
        {onRetry && (
          <Button size="xs" variant="default" onClick={onRetry}>
            Try again
          </Button>
        )}
      </Stack>
    </Notice>
  );
}

/** The complaint of a form that belongs to none of its fields. */
export function FormAlert({ message }: { message: string | undefined }) {
  if (!message) return null;
  return (
    <Notice tone="bad" urgent icon={<CircleAlert size={18} />}>
      {message}
    </Notice>
  );
}

/** Rows that stand where content will be; `height` is that of one row. */
export function SkeletonRows({ rows, height = 44 }: { rows: number; height?: number }) {
  return (
    <Stack gap={10} aria-busy="true" aria-label="Loading">
      {Array.from({ length: rows }, (_, row) => (
        <Skeleton key={row} height={height} radius="md" />
      ))}
    </Stack>
  );
}
