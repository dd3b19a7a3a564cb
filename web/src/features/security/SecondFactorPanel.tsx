import { Button, Group, Modal, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useDisclosure } from "@mantine/hooks";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { KeyRound } from "lucide-react";
import { useState } from "react";

import { query } from "@/shared/api/client";
import { formProblem } from "@/shared/api/problem";
import { CopyField } from "@/shared/ui/CopyField";
import { Notice } from "@/shared/ui/Notice";
import { Panel } from "@/shared/ui/Page";
import { QrCode } from "@/shared/ui/QrCode";
import { ErrorState, FormAlert, SkeletonRows } from "@/shared/ui/states";
import { Tag } from "@/shared/ui/Tag";

const secondFactorQuery = () => query.queryOptions("get", "/v1/user/second-factor", {});
const fields = { password: "password", code: "code" } as const;

type Dialog = "set up" | "new codes" | "switch off";

/** Switches the second factor on and off. */
export function SecondFactorPanel() {
  const factor = useQuery(secondFactorQuery());
  const [opened, handlers] = useDisclosure(false);
  const [dialog, setDialog] = useState<Dialog>("set up");
  const show = (which: Dialog) => () => {
    setDialog(which);
    handlers.open();
  };
  return (
    <Panel
      title="Second factor"
      description="With it, signing in takes a code of an authenticator app besides the password."
      aside={factor.data?.enabled ? <Tag tone="good">on</Tag> : undefined}
    >
      {factor.isPending && <SkeletonRows rows={1} />}
      {factor.isError && (
        <ErrorState error={factor.error} what="the second factor" onRetry={() => void factor.refetch()} />
      )}
      {factor.data && !factor.data.enabled && <Button onClick={show("set up")}>Set up</Button>}
      {factor.data?.enabled && (
        <Stack align="flex-start">
          <Text size="sm" c="dimmed">
            {factor.data.recovery_codes_left} recovery codes are left.
          </Text>
          <Group>
            <Button variant="default" onClick={show("new codes")}>
              New recovery codes
            </Button>
            <Button variant="default" onClick={show("switch off")}>
              Switch off
            </Button>
          </Group>
        </Stack>
      )}
      {dialog === "set up" ? (
        <SetUpDialog opened={opened} onClose={handlers.close} />
      ) : (
        <ProofDialog key={dialog} off={dialog === "switch off"} opened={opened} onClose={handlers.close} />
      )}
    </Panel>
  );
}

function SetUpDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: { password: "", code: "" },
    validate: { password: (value) => (value ? null : "Enter your password.") },
  });
  const begin = query.useMutation("post", "/v1/user/second-factor", {
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });
  const confirm = query.useMutation("post", "/v1/user/second-factor/confirmation", {
    onError: (error) => form.setErrors(formProblem(error, fields).fields),
  });
  const close = () => {
    onClose();
    form.reset();
    begin.reset();
    confirm.reset();
    void queryClient.invalidateQueries({ queryKey: secondFactorQuery().queryKey });
  };
  const failed = confirm.error ?? begin.error;
  const submit = form.onSubmit(({ password, code }) =>
    begin.isSuccess ? confirm.mutate({ body: { code: code.trim() } }) : begin.mutate({ body: { password } }),
  );
  return (
    <Modal opened={opened} onClose={close} title="Set up a second factor" centered size="lg" closeOnClickOutside={false}>
      {confirm.isSuccess ? (
        <Codes codes={confirm.data.recovery_codes} onDone={close} />
      ) : (
        <form noValidate onSubmit={submit}>
          <Stack>
            <FormAlert message={failed ? formProblem(failed, fields).rest : undefined} />
            {begin.isSuccess ? (
              <>
                <Text>Scan this with your authenticator app, then enter the code that it shows.</Text>
                <QrCode value={begin.data.uri} label="QR code for your authenticator app" />
                <CopyField label="Or type in this secret" value={begin.data.secret} wrap />
                <TextInput
                  label="Code"
                  inputMode="numeric"
                  autoComplete="one-time-code"
                  maxLength={6}
                  {...form.getInputProps("code")}
                />
              </>
            ) : (
              <PasswordInput
                label="Password"
                autoComplete="current-password"
                data-autofocus
                {...form.getInputProps("password")}
              />
            )}
            <Group justify="flex-end">
              <Button type="submit" loading={begin.isPending || confirm.isPending}>
                {begin.isSuccess ? "Switch on" : "Continue"}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}

function ProofDialog({ off, opened, onClose }: { off: boolean; opened: boolean; onClose: () => void }) {
  const queryClient = useQueryClient();
  const form = useForm({
    initialValues: { password: "", code: "" },
    validate: {
      password: (value) => (value ? null : "Enter your password."),
      code: (value) => (value.trim().length >= 6 ? null : "Enter the six digits, or a recovery code."),
    },
  });
  const onError = (error: unknown) => form.setErrors(formProblem(error, fields).fields);
  const remove = query.useMutation("post", "/v1/user/second-factor/removal", { onSuccess: () => close(), onError });
  const renew = query.useMutation("post", "/v1/user/second-factor/recovery-codes", { onError });
  const close = () => {
    onClose();
    form.reset();
    remove.reset();
    renew.reset();
    void queryClient.invalidateQueries({ queryKey: secondFactorQuery().queryKey });
  };
  const failed = remove.error ?? renew.error;
  return (
    <Modal
      opened={opened}
      onClose={close}
      title={off ? "Switch the second factor off?" : "Replace the recovery codes?"}
      centered
      closeOnClickOutside={!renew.isSuccess}
    >
      {renew.isSuccess ? (
        <Codes codes={renew.data.recovery_codes} onDone={close} />
      ) : (
        <form noValidate onSubmit={form.onSubmit((body) => (off ? remove : renew).mutate({ body }))}>
          <Stack>
            <Text>{off ? "Your password alone signs you in then." : "The former codes are void then."}</Text>
            <FormAlert message={failed ? formProblem(failed, fields).rest : undefined} />
            <PasswordInput
              label="Password"
              autoComplete="current-password"
              data-autofocus
              {...form.getInputProps("password")}
            />
            <TextInput label="Code" autoComplete="one-time-code" maxLength={32} {...form.getInputProps("code")} />
            <Group justify="flex-end">
              <Button type="submit" color={off ? "red" : undefined} loading={remove.isPending || renew.isPending}>
                {off ? "Switch off" : "Replace"}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}

function Codes({ codes, onDone }: { codes: string[]; onDone: () => void }) {
  return (
    <Stack>
      <Notice tone="warn" icon={<KeyRound size={18} />} title="Keep these recovery codes: they are shown only once">
        Each signs you in once when your app is not at hand.
      </Notice>
      <CopyField label="Recovery codes" value={codes.join("\n")} wrap />
      <Button onClick={onDone}>Done</Button>
    </Stack>
  );
}
