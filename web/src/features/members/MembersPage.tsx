import { Button, Group, Select, Switch, Table, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { UserPlus } from "lucide-react";

import { mayGive, mayManage, roleLabel } from "@/shared/access";
import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { accountQuery, invitationsQuery, membersQuery, sessionQuery } from "@/shared/api/queries";
import type { Account, Invitation, Member, Role } from "@/shared/api/types";
import { useDocumentTitle } from "@/shared/lib/useDocumentTitle";
import { ConfirmDialog } from "@/shared/ui/ConfirmDialog";
import { Page, Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { InviteDialog } from "./InviteDialog";

/** Who belongs to an account, and who was invited. `onLeft` is for when the user has left it. */
export function MembersPage({ account, onLeft }: { account: Account; onLeft: () => void }) {
  useDocumentTitle("Members", account.name);
  const [inviting, dialog] = useDisclosure(false);
  const manages = mayManage(account.role);
  const members = useQuery(membersQuery(account.id));

  return (
    <Page
      title="Members"
      description={`Who works in the account ${account.name}, and as what.`}
      actions={
        manages && (
          <Button leftSection={<UserPlus size={16} aria-hidden />} onClick={dialog.open}>
            Invite
          </Button>
        )
      }
    >
      <Panel flush={members.isSuccess}>
        {members.isPending && <SkeletonRows rows={3} />}
        {members.isError && (
          <ErrorState error={members.error} what="the members" onRetry={() => void members.refetch()} />
        )}
        {members.isSuccess && (
          <WideTable label="Members">
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Email</Table.Th>
                <Table.Th>Role</Table.Th>
                <Table.Th className={secondaryCell}>Second factor</Table.Th>
                <Table.Th className={secondaryCell}>Last seen</Table.Th>
                <Table.Td />
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {members.data.members.map((member) => (
                <MemberRow key={member.user_id} account={account} member={member} onLeft={onLeft} />
              ))}
            </Table.Tbody>
          </WideTable>
        )}
      </Panel>
      {manages && <Invitations account={account} />}
      {manages && <AccountSettings account={account} />}
      <InviteDialog account={account.id} role={account.role} opened={inviting} onClose={dialog.close} />
    </Page>
  );
}

function MemberRow({ account, member, onLeft }: { account: Account; member: Member; onLeft: () => void }) {
  const queryClient = useQueryClient();
  const { data: session } = useQuery(sessionQuery());
  const [asking, dialog] = useDisclosure(false);
  const self = session?.user.id === member.user_id;
  const changes = mayManage(account.role) && (account.role === "owner" || member.role !== "owner");
  const path = { account: account.id, user: member.user_id };
  const refresh = async () => {
    await queryClient.invalidateQueries({ queryKey: membersQuery(account.id).queryKey });
    if (self) await queryClient.invalidateQueries({ queryKey: sessionQuery().queryKey });
  };
  const change = query.useMutation("patch", "/v1/accounts/{account}/members/{user}", { onSuccess: refresh });
  const remove = query.useMutation("delete", "/v1/accounts/{account}/members/{user}", { onSuccess: refresh });
  const leave = query.useMutation("post", "/v1/accounts/{account}/leave", {
    onSuccess: async () => {
      await queryClient.invalidateQueries();
      onLeft();
    },
  });

  return (
    <Table.Tr>
      <Table.Td>
        {member.email} {self && <Tag>you</Tag>}
        {!member.email_verified && <Tag tone="warn">not confirmed</Tag>}
        {change.isError && (
          <Text c="red" size="sm" role="alert">
            {toProblem(change.error).message}
          </Text>
        )}
      </Table.Td>
      <Table.Td>
        {changes ? (
          <Select
            aria-label={`Role of ${member.email}`}
            size="xs"
            w={130}
            data={mayGive(account.role).map(({ value, label }) => ({ value, label }))}
            value={member.role}
            allowDeselect={false}
            disabled={change.isPending}
            onChange={(role) => role && change.mutate({ params: { path }, body: { role: role as Role } })}
          />
        ) : (
          roleLabel(member.role)
        )}
      </Table.Td>
      <Table.Td className={secondaryCell}>{member.second_factor ? <Tag tone="good">on</Tag> : "off"}</Table.Td>
      <Table.Td className={secondaryCell}>
        {member.last_seen_at ? <RelativeTime at={member.last_seen_at} /> : "–"}
      </Table.Td>
      <Table.Td ta="right">
        {(self || changes) && (
          <Button size="xs" variant="default" aria-label={`${self ? "Leave" : "Remove"} ${member.email}`} onClick={dialog.open}>
            {self ? "Leave" : "Remove"}
          </Button>
        )}
        <ConfirmDialog
          opened={asking}
          onClose={dialog.close}
          title={self ? `Leave ${account.name}?` : `Remove ${member.email}?`}
          action={self ? "Leave account" : "Remove member"}
          pending={remove.isPending || leave.isPending}
          error={remove.error ?? leave.error}
          onConfirm={() => (self ? leave.mutate({ params: { path: { account: account.id } } }) : remove.mutate({ params: { path } }))}
        >
          {self ? "You see nothing" : "They see nothing"} of the account any more, and personal API tokens in it stop
          working at once. Service tokens stay.
        </ConfirmDialog>
      </Table.Td>
    </Table.Tr>
  );
}

function Invitations({ account }: { account: Account }) {
  const invitations = useQuery(invitationsQuery(account.id));
  if (!invitations.isSuccess || invitations.data.invitations.length === 0) return null;
  return (
    <Panel title="Invitations" description="Each link is good once, for its address." flush>
      <WideTable label="Invitations">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Email</Table.Th>
            <Table.Th>Role</Table.Th>
            <Table.Th className={secondaryCell}>Sent</Table.Th>
            <Table.Td />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {invitations.data.invitations.map((each) => (
            <InvitationRow key={each.id} account={account.id} invitation={each} />
          ))}
        </Table.Tbody>
      </WideTable>
    </Panel>
  );
}

function InvitationRow({ account, invitation }: { account: string; invitation: Invitation }) {
  const queryClient = useQueryClient();
  const params = { path: { account, invitation: invitation.id } };
  const onSuccess = () => queryClient.invalidateQueries({ queryKey: invitationsQuery(account).queryKey });
  const resend = query.useMutation("post", "/v1/accounts/{account}/invitations/{invitation}/resend", { onSuccess });
  const revoke = query.useMutation("delete", "/v1/accounts/{account}/invitations/{invitation}", { onSuccess });
  const error = resend.error ?? revoke.error;
  return (
    <Table.Tr>
      <Table.Td>
        {invitation.email}
        {error && (
          <Text c="red" size="sm" role="alert">
            {toProblem(error).message}
          </Text>
        )}
      </Table.Td>
      <Table.Td>{roleLabel(invitation.role)}</Table.Td>
      <Table.Td className={secondaryCell}>
        <RelativeTime at={invitation.sent_at} />
      </Table.Td>
      <Table.Td>
        <Group gap="xs" justify="flex-end" wrap="nowrap">
          <Button
            size="xs"
            variant="default"
            loading={resend.isPending}
            aria-label={`Send the invitation of ${invitation.email} again`}
            onClick={() => resend.mutate({ params })}
          >
            Send again
          </Button>
          <Button
            size="xs"
            variant="default"
            loading={revoke.isPending}
            aria-label={`Withdraw the invitation of ${invitation.email}`}
            onClick={() => revoke.mutate({ params })}
          >
            Withdraw
          </Button>
        </Group>
      </Table.Td>
    </Table.Tr>
  );
}

function AccountSettings({ account }: { account: Account }) {
  const queryClient = useQueryClient();
  const details = useQuery(accountQuery(account.id));
  const form = useForm({
    initialValues: { name: account.name },
    validate: { name: (name) => (name.trim() ? null : "Give the account a name.") },
  });
  const update = query.useMutation("patch", "/v1/accounts/{account}", {
    onSuccess: async (after) => {
      queryClient.setQueryData(accountQuery(account.id).queryKey, after);
      await queryClient.invalidateQueries({ queryKey: sessionQuery().queryKey });
    },
    onError: (error) => form.setErrors(formProblem(error, { name: "name" }).fields),
  });
  const params = { path: { account: account.id } };
  return (
    <Panel title="Account">
      <FormAlert message={update.isError ? formProblem(update.error, { name: "name" }).rest : undefined} />
      <form noValidate onSubmit={form.onSubmit(({ name }) => update.mutate({ params, body: { name: name.trim() } }))}>
        <Group align="flex-end" mb="md">
          <TextInput label="Name" maxLength={100} {...form.getInputProps("name")} />
          <Button type="submit" variant="default" loading={update.isPending}>
            Rename
          </Button>
        </Group>
      </form>
      {account.role === "owner" && (
        <Switch
          label="Require a second factor"
          description="Members without one see nothing of the account until they set one up."
          checked={details.data?.require_second_factor ?? false}
          disabled={!details.isSuccess || update.isPending}
          onChange={({ currentTarget: { checked } }) =>
            update.mutate({ params, body: { require_second_factor: checked } })
          }
        />
      )}
    </Panel>
  );
}
