import type { Handler } from "@/shared/api/types";

/** What each handler means, in the order of the form. */
export const handlers: readonly { value: Handler; label: string; explanation: string }[] = [
  {
    value: "auto",
    label: "Auto",
    explanation:
      "An app server answers invocations while one is connected, else the upstream when one is set, else nobody: clients only receive. The right choice unless you want to rule something out.",
  },
  {
    value: "broadcast",
    label: "Broadcast only",
    explanation: "Clients receive what your backend publishes over REST. An invocation gets an error that says so.",
  },
  {
    value: "upstream",
    label: "Upstream",
    explanation: "Each invocation is posted to your webhook; its response completes the invocation.",
  },
  {
    value: "app_server",
    label: "App server",
    explanation: "Your server keeps connections to the service and answers invocations over them.",
  },
];

/** The name of a handler for people. */
export const handlerLabel = (handler: Handler): string =>
  handlers.find(({ value }) => value === handler)?.label ?? handler;
