import { Button, Group, Modal, PasswordInput, Stack, Text } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";

import { query } from "@/shared/api/client";
import { formProblem, toProblem } from "@/shared/api/problem";
import { signInOptionsQuery } from "@/shared/api/queries";
import { Panel } from "@/shared/ui/Page";
import { FormAlert } from "@/shared/ui/states";

const identitiesQuery = () => query.queryOptions("get", "/v1/user/identities", {});

/** Links and unlinks identities at the OpenID provider; nothing where there is none. */
export function IdentitiesPanel() {
  const { data: options } = useQuery(signInOptionsQuery());
  return options?.oidc ? <Identities provider={options.oidc.name} /> : null;
}

function Identities({ provider }: { provider: string }) {
  const queryClient = useQueryClient();
  const [asking, dialog] = useDisclosure(false);
  const identities = useQuery(identitiesQuery());
  const form = useForm({ initialValues: { password: "" } });
  const link = query.useMutation("post", "/v1/user/identities", {
    onSuccess: ({ url }) => window.location.assign(url),
    onError: (error) => form.setErrors(formProblem(error, { password: "password" }).fields),
  });
  const unlink = query.useMutation("delete", "/v1/user/identities/{identity}", {
    onSuccess: () => queryClient.invalidateQueries({ queryKey: identitiesQuery().queryKey }),
  });
  return (
    <Panel title={provider} description="Identities with which you can sign in besides your password.">
      <Stack align="flex-start">
        <FormAlert message={unlink.isError ? toProblem(unlink.error).message : undefined} />
        {identities.data?.identities.map(({ id, email, issuer }) => (
          <Group key={id}>
            <Text>
              {email || "No address"} at {issuer}
            </Text>
            <Button
              size="xs"
              variant="default"
              aria-label={`Unlink ${email}`}
              onClick={() => unlink.mutate({ params: { path: { identity: id } } })}
            >
              Unlink
            </Button>
          </Group>
        ))}
        <Button variant="default" onClick={dialog.open}>
          Link an identity
        </Button>
      </Stack>
      <Modal opened={asking} onClose={dialog.close} title={`Link ${provider}`} centered>
        <form noValidate onSubmit={form.onSubmit((body) => link.mutate({ body }))}>
          <Stack>
            <FormAlert message={link.isError ? formProblem(link.error, { password: "password" }).rest : undefined} />
            <PasswordInput
              label="Password"
              autoComplete="current-password"
              data-autofocus
              {...form.getInputProps("password")}
            />
            <Group justify="flex-end">
              <Button type="submit" loading={link.isPending || link.isSuccess}>
                Continue
              </Button>
            </Group>
          </Stack>
        </form>
      </Modal>
    </Panel>
  );
}
