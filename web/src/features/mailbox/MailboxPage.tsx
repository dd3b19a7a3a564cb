import { Button, Stack, Text } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { Inbox } from "lucide-react";

import { query } from "@/shared/api/client";
import { toProblem } from "@/shared/api/problem";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { BrandMark } from "@/shared/ui/BrandMark";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { EmptyState, ErrorState, SkeletonRows } from "@/shared/ui/states";
import classes from "./MailboxPage.module.css";

/** The mail that a development server did not send. */
export function MailboxPage() {
  useDocumentTitle("Dev mailbox");
  const mailbox = query.useQuery("get", "/v1/dev/mailbox", {}, { refetchInterval: 3_000, retry: false });
  const mails = mailbox.data?.mails ?? [];
  const absent = mailbox.isError && toProblem(mailbox.error).status === 404;

  return (
    <main>
      <Link to="/" className={classes["home"]} aria-label="Signalbox, home">
        <BrandMark named />
      </Link>
      <Page title="Dev mailbox" description="A development server sends no mail. What it would have sent is here.">
        {mailbox.isPending && (
          <Panel>
            <SkeletonRows rows={3} height={72} />
          </Panel>
        )}
        {absent && (
          <Panel>
            <EmptyState icon={<Inbox size={22} />} title="There is no mailbox here">
              Only development servers have one. This server sends its mail.
            </EmptyState>
          </Panel>
        )}
        {mailbox.isError && !absent && (
          <ErrorState error={mailbox.error} what="the mailbox" onRetry={() => void mailbox.refetch()} />
        )}
        {mailbox.isSuccess && mails.length === 0 && (
          <Panel>
            <EmptyState icon={<Inbox size={22} />} title="No mail yet">
              Sign up, and the mail that confirms the address appears here.
            </EmptyState>
          </Panel>
        )}
        <Stack component="ol" className={classes["list"] ?? ""}>
          {mails.map((mail) => (
            <li key={mail.id}>
              <Panel aside={<RelativeTime at={mail.created_at} />} title={mail.subject} description={`To ${mail.to}`}>
                <Text className={classes["text"] ?? ""}>{mail.text}</Text>
                {mail.link && (
                  <Button component="a" href={safeLink(mail.link)} variant="default" mt="md">
                    Open the link
                  </Button>
                )}
              </Panel>
            </li>
          ))}
        </Stack>
      </Page>
    </main>
  );
}

// Only web addresses: a mail is no place to run a javascript: link from.
function safeLink(link: string): string | undefined {
  return /^https?:\/\//.test(link) ? link : undefined;
}
