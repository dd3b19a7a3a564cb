import { Button, Checkbox, Select, TagsInput, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import type { Tenant } from "@/shared/api/types";
import { CopyField } from "@/shared/ui/CopyField";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { FormAlert } from "@/shared/ui/states";
import { given, lifetimes, suggestions } from "./rules";
import classes from "./Tokens.module.css";

const fieldNames = { hub: "hub", user_id: "user", groups: "groups", permissions: "permissions", expires_in_seconds: "life" } as const;

/** Makes a client's token, with groups to join and permissions. */
export function MintPanel({ tenant }: { tenant: Tenant }) {
  const form = useForm({
    initialValues: { hub: "", user: "", life: "3600", groups: [] as string[], permissions: [] as string[], closes: false },
    validate: { hub: (value) => (given(value) ? null : "Name the hub that the token is for.") },
  });
  const mint = query.useMutation("post", "/v1/tenants/{tenant}/client-tokens", {
    onError: (error) => form.setErrors(formProblem(error, fieldNames).fields),
  });
  return (
    <Panel title="Make a token" description="For a client of one hub. A backend signs such tokens by itself, with an access key.">
      <form
        noValidate
        className={classes["form"]}
        onSubmit={form.onSubmit(({ hub, user, life, groups, permissions, closes }) => {
          const user_id = given(user);
          mint.mutate({
            params: { path: { tenant: tenant.slug } },
            body: { hub: hub.trim(), ...(user_id && { user_id }), expires_in_seconds: Number(life), groups, permissions, close_on_expiry: closes },
          });
        })}
      >
        <FormAlert message={mint.isError ? formProblem(mint.error, fieldNames).rest : undefined} />
        <div className={classes["fields"]}>
          <TextInput label="Hub" placeholder="chat" maxLength={128} {...form.getInputProps("hub")} />
          <TextInput label="User id" placeholder="Nobody" maxLength={256} {...form.getInputProps("user")} />
          <Select label="Good for" data={lifetimes} allowDeselect={false} {...form.getInputProps("life")} />
        </div>
        <div className={classes["fields"]}>
          <TagsInput
            label="Groups"
            description="Joined when it connects"
            placeholder="lobby"
            maxTags={100}
            {...form.getInputProps("groups")}
          />
          <TagsInput
            label="Permissions"
            description="What it may do without a backend"
            placeholder="joinGroup:room-*"
            data={suggestions}
            maxTags={100}
            {...form.getInputProps("permissions")}
          />
        </div>
        <Checkbox
          label="Close the connection when the token expires and was not refreshed"
          {...form.getInputProps("closes", { type: "checkbox" })}
        />
        <div className={classes["buttons"]}>
          <Button type="submit" loading={mint.isPending}>
            Make token
          </Button>
        </div>
      </form>
      {mint.isSuccess && (
        <div className={classes["result"]} role="group" aria-label="New token">
          <CopyField label="Token" value={mint.data.token} />
          <CopyField label="Connect to" value={mint.data.url} />
          <CopyField label="Id, to revoke it by" value={mint.data.id} />
          <Text c="dimmed" size="sm">
            Expires <RelativeTime at={mint.data.expires_at} />.
          </Text>
        </div>
      )}
    </Panel>
  );
}
