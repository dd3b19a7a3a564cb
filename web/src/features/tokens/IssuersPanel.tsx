import { Button, Checkbox, Modal, MultiSelect, Stack, Table, TagsInput, Text, TextInput, VisuallyHidden } from "@mantine/core";
import { useForm } from "@mantine/form";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { Plus } from "lucide-react";
import { useState } from "react";

import { api, query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { ifSeen, type Seen, useSeen } from "@/shared/api/seen";
import type { Algorithm, Issuer, IssuerSettings, Tenant } from "@/shared/api/types";
import { ChangedNotice, isChanged } from "@/shared/ui/ChangedNotice";
import { Panel } from "@/shared/ui/Page";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { secondaryCell, WideTable } from "@/shared/ui/WideTable";
import { given } from "./rules";
import classes from "./Tokens.module.css";

const algorithms: readonly Algorithm[] = ["RS256", "ES256", "EdDSA"];
const fieldNames = {
  issuer: "issuer", jwks_url: "jwksURL", algorithms: "algorithms", audiences: "audiences", user_claim: "userClaim",
} as const;

/** The identity providers whose tokens clients use as they are. */
export function IssuersPanel({ tenant }: { tenant: Tenant }) {
  const issuers = query.useQuery("get", "/v1/tenants/{tenant}/issuers", { params: { path: { tenant: tenant.slug } } });
  // A new one, one to change, one to remove, or none of it.
  const [edited, setEdited] = useState<Issuer | "new">();
  const [removed, setRemoved] = useState<Issuer>();
  const list = issuers.data?.issuers ?? [];
  return (
    <Panel
      title="Identity providers"
      description="Clients may use the tokens of your own provider as they are. Its public keys are read from its JWKS address."
      aside={
        issuers.isSuccess && (
          <Button variant="default" size="sm" leftSection={<Plus size={15} aria-hidden />} onClick={() => setEdited("new")}>
            Add provider
          </Button>
        )
      }
      flush
    >
      {issuers.isPending && (
        <div className={classes["pad"]}>
          <SkeletonRows rows={1} height={40} />
        </div>
      )}
      {issuers.isError && (
        <div className={classes["pad"]}>
          <ErrorState error={issuers.error} what="the identity providers" onRetry={() => void issuers.refetch()} />
        </div>
      )}
      {issuers.isSuccess && list.length === 0 && (
        <Text c="dimmed" className={classes["pad"] ?? ""}>
          There is none. Only tokens that an access key has signed are accepted.
        </Text>
      )}
      {list.length > 0 && (
        <WideTable label="Identity providers">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Issuer</Table.Th>
              <Table.Th className={secondaryCell}>Algorithms</Table.Th>
              <Table.Th className={secondaryCell}>User id from</Table.Th>
              <Table.Th>
                <VisuallyHidden>Actions</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {list.map((issuer) => (
              <Table.Tr key={issuer.id}>
                <Table.Td className={classes["value"] ?? ""}>{issuer.issuer}</Table.Td>
                <Table.Td className={secondaryCell}>{issuer.algorithms.join(", ")}</Table.Td>
                <Table.Td className={secondaryCell}>{issuer.user_claim}</Table.Td>
                <Table.Td ta="right">
                  <Button variant="subtle" size="compact-sm" aria-label={`Edit ${issuer.issuer}`} onClick={() => setEdited(issuer)}>
                    Edit
                  </Button>
                  <Button
                    variant="subtle"
                    color="red"
                    size="compact-sm"
                    aria-label={`Remove ${issuer.issuer}`}
                    onClick={() => setRemoved(issuer)}
                  >
                    Remove
                  </Button>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </WideTable>
      )}
      <Modal
        opened={edited !== undefined}
        onClose={() => setEdited(undefined)}
        centered
        size="lg"
        title={edited === "new" ? "Add an identity provider" : "Edit the identity provider"}
      >
        {edited === "new" && <IssuerForm tenant={tenant} onDone={() => setEdited(undefined)} />}
        {edited && edited !== "new" && <EditedIssuer tenant={tenant} id={edited.id} onDone={() => setEdited(undefined)} />}
      </Modal>
      <RemoveDialog tenant={tenant} issuer={removed} onClose={() => setRemoved(undefined)} />
    </Panel>
  );
}

function useRefresh() {
  const queryClient = useQueryClient();
  return () => queryClient.invalidateQueries({ queryKey: ["get", "/v1/tenants/{tenant}/issuers"] });
}

/** The form with the issuer as it is when the dialog opens. */
function EditedIssuer({ tenant, id, onDone }: { tenant: Tenant; id: string; onDone: () => void }) {
  const path = { tenant: tenant.slug, issuer: id };
  const seen = useSeen(["issuer", tenant.slug, id], () =>
    api.GET("/v1/tenants/{tenant}/issuers/{issuer}", { params: { path } }),
  );
  if (seen.isError) return <ErrorState error={seen.error} what="the identity provider" onRetry={() => void seen.refetch()} />;
  if (!seen.data) return <SkeletonRows rows={5} />;
  return <IssuerForm key={seen.data.tag} tenant={tenant} seen={seen.data} onDone={onDone} onReload={() => void seen.refetch()} />;
}

interface FormProps {
  tenant: Tenant;
  seen?: Seen<Issuer>;
  onDone: () => void;
  onReload?: () => void;
}

function IssuerForm({ tenant, seen, onDone, onReload = onDone }: FormProps) {
  const issuer = seen?.value;
  const refresh = useRefresh();
  const form = useForm({
    initialValues: {
      issuer: issuer?.issuer ?? "",
      jwksURL: issuer?.jwks_url ?? "",
      algorithms: (issuer?.algorithms ?? [...algorithms]) as Algorithm[],
      audiences: issuer?.audiences ?? [],
      userClaim: issuer?.user_claim ?? "sub",
      closes: issuer?.close_on_expiry ?? false,
    },
    validate: {
      issuer: (value) => (given(value) ? null : "Give the value of its tokens' iss."),
      jwksURL: (value) => (/^https?:\/\//.test(value) ? null : "Give the address of its public keys, beginning with https://."),
    },
  });
  const outcome = {
    onSuccess: async () => {
      await refresh();
      notifications.show({ message: "Saved, and in force on every edge.", color: "signal" });
      onDone();
    },
    onError: (error: unknown) => form.setErrors(formProblem(error, fieldNames).fields),
  };
  const create = query.useMutation("post", "/v1/tenants/{tenant}/issuers", outcome);
  const replace = query.useMutation("put", "/v1/tenants/{tenant}/issuers/{issuer}", outcome);
  const save = issuer ? replace : create;
  return (
    <form
      noValidate
      onSubmit={form.onSubmit((values) => {
        const user_claim = given(values.userClaim);
        const body: IssuerSettings = {
          issuer: values.issuer.trim(),
          jwks_url: values.jwksURL.trim(),
          ...(values.algorithms.length > 0 && { algorithms: values.algorithms }),
          audiences: values.audiences,
          ...(user_claim && { user_claim }),
          close_on_expiry: values.closes,
        };
        if (issuer) replace.mutate({ params: { path: { tenant: tenant.slug, issuer: issuer.id } }, headers: ifSeen(seen), body });
        else create.mutate({ params: { path: { tenant: tenant.slug } }, body });
      })}
    >
      <Stack>
        <ChangedNotice error={save.error} what="this provider" onReload={onReload} />
        <FormAlert message={save.isError && !isChanged(save.error) ? formProblem(save.error, fieldNames).rest : undefined} />
        <TextInput
          label="Issuer"
          description="The iss of its tokens, exactly"
          placeholder="https://id.example.com/"
          maxLength={512}
          data-autofocus
          {...form.getInputProps("issuer")}
        />
        <TextInput
          label="JWKS address"
          description="Where its public keys are"
          placeholder="https://id.example.com/.well-known/jwks.json"
          maxLength={2048}
          {...form.getInputProps("jwksURL")}
        />
        <MultiSelect label="Algorithms" data={algorithms} {...form.getInputProps("algorithms")} />
        <TagsInput
          label="Audiences"
          description="A token's aud must hold one of them; with none here, the hub's client URL"
          maxTags={10}
          {...form.getInputProps("audiences")}
        />
        <TextInput label="User id from the claim" maxLength={128} {...form.getInputProps("userClaim")} />
        <Checkbox
          label="Close connections when their token expires and was not refreshed"
          {...form.getInputProps("closes", { type: "checkbox" })}
        />
        <div className={classes["buttons"]}>
          <Button variant="default" onClick={onDone}>
            Cancel
          </Button>
          <Button type="submit" loading={save.isPending}>
            Save provider
          </Button>
        </div>
      </Stack>
    </form>
  );
}

function RemoveDialog({ tenant, issuer, onClose }: { tenant: Tenant; issuer: Issuer | undefined; onClose: () => void }) {
  const refresh = useRefresh();
  const remove = query.useMutation("delete", "/v1/tenants/{tenant}/issuers/{issuer}", {
    onSuccess: async () => {
      await refresh();
      close();
    },
  });
  const close = () => {
    remove.reset();
    onClose();
  };
  return (
    <Modal opened={issuer !== undefined} onClose={close} centered title="Remove the identity provider?">
      <Stack>
        <Text className={classes["value"] ?? ""}>
          Tokens of {issuer?.issuer} are refused, and connections that came with one are closed within a second.
        </Text>
        <FormAlert message={remove.isError ? toProblem(remove.error).message : undefined} />
        <div className={classes["buttons"]}>
          <Button variant="default" onClick={close} data-autofocus>
            Cancel
          </Button>
          <Button
            color="red"
            loading={remove.isPending}
            onClick={() => issuer && remove.mutate({ params: { path: { tenant: tenant.slug, issuer: issuer.id } } })}
          >
            Remove provider
          </Button>
        </div>
      </Stack>
    </Modal>
  );
}
