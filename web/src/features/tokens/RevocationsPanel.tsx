import { Button, Select, Table, Text, TextInput, VisuallyHidden } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";

import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import type { Revocation, RevocationKind, Tenant } from "@/shared/api/types";
import { Panel } from "@/shared/ui/Page";
import { RelativeTime } from "@/shared/ui/RelativeTime";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { endOf, given } from "./rules";
import classes from "./Tokens.module.css";

const kinds: readonly { value: RevocationKind; label: string; named: string; placeholder: string }[] = [
  { value: "user", label: "A user's tokens", named: "User id", placeholder: "ann" },
  { value: "token", label: "One token", named: "Id of the token (jti)", placeholder: "NVQ3…" },
  { value: "key", label: "A key, and all that it signs", named: "Id of the key", placeholder: "Access key's id, or an issuer's kid" },
];

const kindOf = (kind: RevocationKind) => kinds.find(({ value }) => value === kind);

/** Takes tokens back before they expire, and gives them their due again. */
export function RevocationsPanel({ tenant }: { tenant: Tenant }) {
  const queryClient = useQueryClient();
  const params = { path: { tenant: tenant.slug } };
  const revocations = query.useQuery("get", "/v1/tenants/{tenant}/revocations", { params });
  const list = revocations.data?.revocations ?? [];
  const form = useForm({
    initialValues: { kind: "user" as RevocationKind, value: "" },
    validate: { value: (value) => (given(value) ? null : "Say whose tokens.") },
  });
  const refresh = () => queryClient.invalidateQueries({ queryKey: ["get", "/v1/tenants/{tenant}/revocations"] });
  const revoke = query.useMutation("post", "/v1/tenants/{tenant}/revocations", {
    onSuccess: async () => {
      form.reset();
      await refresh();
      notifications.show({ message: "Revoked. Connections with such tokens are closed within a second.", color: "signal" });
    },
    onError: (error) => form.setErrors(formProblem(error, { value: "value", kind: "kind" }).fields),
  });
  const lift = query.useMutation("delete", "/v1/tenants/{tenant}/revocations/{revocation}", { onSuccess: refresh });
  const chosen = kindOf(form.values.kind);

  return (
    <Panel title="Revocations" description="Tokens that are refused although they have not expired. Their connections are closed within a second." flush>
      <form
        noValidate
        className={`${classes["form"]} ${classes["pad"]}`}
        onSubmit={form.onSubmit(({ kind, value }) => revoke.mutate({ params, body: { kind, value: value.trim() } }))}
      >
        <FormAlert message={revoke.isError ? formProblem(revoke.error, { value: "value", kind: "kind" }).rest : undefined} />
        <FormAlert message={lift.isError ? toProblem(lift.error).message : undefined} />
        <div className={classes["fields"]}>
          <Select label="Revoke" data={kinds.map(({ value, label }) => ({ value, label }))} allowDeselect={false} {...form.getInputProps("kind")} />
          <TextInput label={chosen?.named} placeholder={chosen?.placeholder ?? ""} maxLength={256} {...form.getInputProps("value")} />
        </div>
        <div className={classes["buttons"]}>
          <Button type="submit" color="red" loading={revoke.isPending}>
            Revoke
          </Button>
        </div>
      </form>
      {revocations.isPending && (
        <div className={classes["pad"]}>
          <SkeletonRows rows={2} height={40} />
        </div>
      )}
      {revocations.isError && (
        <div className={classes["pad"]}>
          <ErrorState error={revocations.error} what="the revocations" onRetry={() => void revocations.refetch()} />
        </div>
      )}
      {revocations.isSuccess && list.length === 0 && (
        <Text c="dimmed" className={classes["pad"] ?? ""}>
          Nothing is revoked.
        </Text>
      )}
      {list.length > 0 && (
        <WideTable label="Revocations">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Revoked</Table.Th>
              <Table.Th className={secondaryCell}>When</Table.Th>
              <Table.Th className={secondaryCell}>Ends</Table.Th>
              <Table.Th>
                <VisuallyHidden>Actions</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {list.map((revocation) => (
              <Row
                key={revocation.id}
                revocation={revocation}
                lifting={lift.isPending}
                onLift={() => lift.mutate({ params: { path: { ...params.path, revocation: revocation.id } } })}
              />
            ))}
          </Table.Tbody>
        </WideTable>
      )}
    </Panel>
  );
}

function Row({ revocation, lifting, onLift }: { revocation: Revocation; lifting: boolean; onLift: () => void }) {
  const { kind, value, created_at, expires_at } = revocation;
  const ends = endOf(expires_at, Date.parse(created_at));
  return (
    <Table.Tr>
      <Table.Td className={classes["value"] ?? ""}>
        {kind} {value}
      </Table.Td>
      <Table.Td className={secondaryCell}>
        <RelativeTime at={created_at} />
      </Table.Td>
      <Table.Td className={secondaryCell}>{ends ? <RelativeTime at={ends} /> : "when it is lifted"}</Table.Td>
      <Table.Td ta="right">
        <Button variant="subtle" size="compact-sm" disabled={lifting} aria-label={`Lift the revocation of ${kind} ${value}`} onClick={onLift}>
          Lift
        </Button>
      </Table.Td>
    </Table.Tr>
  );
}
