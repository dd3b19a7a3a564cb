import { Button, Group, Text, Title } from "@mantine/core";
import { Link, useRouter, type ErrorComponentProps } from "@tanstack/react-router";
import { Compass, CircleAlert, Lock } from "lucide-react";
import type { ReactNode } from "react";

import { toProblem } from "../api/problem";
import { useDocumentTitle } from "../lib/useDocumentTitle";
import classes from "./RouteError.module.css";

/** What a route shows instead of itself when it could not be opened. */
export function RouteError({ error }: Pick<ErrorComponentProps, "error">) {
  const router = useRouter();
  const problem = toProblem(error);
  if (problem.status === 404) return <NotFound />;
  const forbidden = problem.status === 403;
  return (
    <Stop
      icon={forbidden ? <Lock size={22} /> : <CircleAlert size={22} />}
      title={forbidden ? "You may not see this page" : "This page could not be opened"}
      actions={<Button onClick={() => void router.invalidate()}>Try again</Button>}
    >
      {problem.message}
      {problem.requestId && ` Request ${problem.requestId}.`}
    </Stop>
  );
}

/** An address that leads nowhere, or nowhere that the reader may see. */
export function NotFound() {
  return (
    <Stop
      icon={<Compass size={22} />}
      title="Nothing here"
      actions={
        <Button component={Link} to="/">
          Go to the console
        </Button>
      }
    >
      This page does not exist, or it belongs to a tenant that you can't see.
    </Stop>
  );
}

interface StopProps {
  icon: ReactNode;
  title: string;
  actions: ReactNode;
  children: ReactNode;
}

function Stop({ icon, title, actions, children }: StopProps) {
  useDocumentTitle(title);
  return (
    <div className={classes["stop"]}>
      <span className={classes["icon"]} aria-hidden>
        {icon}
      </span>
      <Title order={1}>{title}</Title>
      <Text c="dimmed" maw="52ch">
        {children}
      </Text>
      <Group mt="md">{actions}</Group>
    </div>
  );
}

/** RouteError for routes that have no layout, hence no main landmark, around them. */
export function RootError({ error }: ErrorComponentProps) {
  return (
    <main>
      <RouteError error={error} />
    </main>
  );
}

/** NotFound for where there is no layout around it. */
export function RootNotFound() {
  return (
    <main>
      <NotFound />
    </main>
  );
}
