import { Button, Select, TagsInput, Text, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import type { ReactNode } from "react";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import type { CheckAction, CheckedToken, PermissionCheck, Tenant } from "@/shared/api/types";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { FormAlert } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";
import { actions, given, needsGroup, suggestions } from "./rules";
import classes from "./Tokens.module.css";

const fieldNames = { hub: "hub", action: "action", group: "group", token: "token", user_id: "user", permissions: "permissions" } as const;

/** Would this be allowed, and why: for a token, or for one that is described. */
export function CheckPanel({ tenant }: { tenant: Tenant }) {
  const form = useForm({
    initialValues: { hub: "", action: "joinGroup" as CheckAction, group: "", token: "", user: "", permissions: [] as string[] },
    validate: {
      hub: (value) => (given(value) ? null : "Name the hub."),
      group: (value, { action }) => (given(value) || !needsGroup(action) ? null : "Name the group."),
    },
  });
  const check = query.useMutation("post", "/v1/tenants/{tenant}/permission-checks", {
    onError: (error) => form.setErrors(formProblem(error, fieldNames).fields),
  });
  const { action, token } = form.values;
  return (
    <Panel
      title="Would this be allowed?"
      description="Tries a token, or one that you describe, by what the edges go by. Nothing is sent, and the token is not kept."
    >
      <form
        noValidate
        className={classes["form"]}
        onSubmit={form.onSubmit((values) => {
          const pasted = given(values.token);
          const user_id = given(values.user);
          check.mutate({
            params: { path: { tenant: tenant.slug } },
            body: {
              hub: values.hub.trim(),
              action: values.action,
              ...(needsGroup(values.action) && { group: values.group }),
              ...(pasted ? { token: pasted } : { ...(user_id && { user_id }), permissions: values.permissions }),
            },
          });
        })}
      >
        <FormAlert message={check.isError ? formProblem(check.error, fieldNames).rest : undefined} />
        <div className={classes["fields"]}>
          <TextInput label="Hub" placeholder="chat" maxLength={128} {...form.getInputProps("hub")} />
          <Select label="Wants to" data={actions} allowDeselect={false} {...form.getInputProps("action")} />
          {needsGroup(action) && <TextInput label="Group" placeholder="room-7" maxLength={1024} {...form.getInputProps("group")} />}
        </div>
        <Textarea
          label="Token"
          description="Leave it empty to describe one instead"
          rows={3}
          maxLength={8192}
          spellCheck={false}
          {...form.getInputProps("token")}
        />
        {!given(token) && (
          <div className={classes["fields"]}>
            <TextInput label="User id" placeholder="Nobody" maxLength={256} {...form.getInputProps("user")} />
            <TagsInput label="Permissions" placeholder="joinGroup:room-*" data={suggestions} maxTags={100} {...form.getInputProps("permissions")} />
          </div>
        )}
        <div className={classes["buttons"]}>
          <Button type="submit" variant="default" loading={check.isPending}>
            Check
          </Button>
        </div>
      </form>
      {check.isSuccess && <Verdict check={check.data} />}
    </Panel>
  );
}

function Verdict({ check: { allowed, code, reason, rule, token } }: { check: PermissionCheck }) {
  return (
    <div className={classes["result"]} role="status" aria-label="Verdict">
      <div className={classes["verdict"]}>
        <Tag tone={allowed ? "good" : "bad"}>{allowed ? "Allowed" : `Refused · ${code}`}</Tag>
        <Text>{reason}</Text>
      </div>
      {(rule || token) && (
        <dl className={classes["facts"]}>
          {rule && <Fact name="Decided by">{`${rule.permission}, of the ${rule.source}`}</Fact>}
          {token && <TokenFacts token={token} />}
        </dl>
      )}
    </div>
  );
}

function TokenFacts({ token }: { token: CheckedToken }) {
  return (
    <>
      <Fact name="User">{token.user_id ?? "nobody"}</Fact>
      <Fact name="Signed by">{token.issuer_id ? `${token.key_id}, of issuer ${token.issuer_id}` : token.key_id}</Fact>
      {token.id && <Fact name="Id">{token.id}</Fact>}
      <Fact name="Expires">
        <RelativeTime at={token.expires_at} />
      </Fact>
      {token.groups.length > 0 && <Fact name="Joins">{token.groups.join(", ")}</Fact>}
      <Fact name="Permissions">{token.permissions.join(", ") || "none"}</Fact>
      {token.ignored.length > 0 && (
        <Fact name="Ignored">{token.ignored.map(({ permission, reason }) => `${permission}: ${reason}`).join("; ")}</Fact>
      )}
    </>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}
