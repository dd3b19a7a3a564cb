import { ActionIcon, Button, Tooltip, VisuallyHidden } from "@mantine/core";
import { Check, Copy, X } from "lucide-react";
import { useEffect, useState } from "react";

interface Props {
  /** What lands on the clipboard. */
  value: string;
  /** What is copied, for its accessible name: "Copy endpoint". */
  what: string;
  /** An icon only, or an icon with a word. */
  variant?: "icon" | "button";
  disabled?: boolean;
}

type Outcome = "idle" | "copied" | "failed";

const labels: Record<Outcome, string> = { idle: "Copy", copied: "Copied", failed: "Not allowed" };
const icons = { idle: Copy, copied: Check, failed: X };

/** Copies a value and says so, to eyes and to screen readers. */
export function CopyButton({ value, what, variant = "icon", disabled = false }: Props) {
  const [outcome, setOutcome] = useState<Outcome>("idle");
  useEffect(() => {
    if (outcome === "idle") return undefined;
    const timer = setTimeout(() => setOutcome("idle"), 2000);
    return () => clearTimeout(timer);
  }, [outcome]);

  const copy = () => {
    copyText(value).then(
      () => setOutcome("copied"),
      () => setOutcome("failed"),
    );
  };
  const name = `Copy ${what}`;
  const Icon = icons[outcome];
  return (
    <>
      {variant === "icon" ? (
        <Tooltip label={labels[outcome]}>
          <ActionIcon variant="subtle" color="gray" aria-label={name} onClick={copy} disabled={disabled}>
            <Icon size={16} aria-hidden />
          </ActionIcon>
        </Tooltip>
      ) : (
        <Button
          variant="default"
          size="xs"
          leftSection={<Icon size={14} aria-hidden />}
          aria-label={name}
          onClick={copy}
          disabled={disabled}
        >
          {labels[outcome]}
        </Button>
      )}
      <VisuallyHidden role="status">{outcome === "idle" ? "" : labels[outcome]}</VisuallyHidden>
    </>
  );
}

// navigator.clipboard exists only in secure contexts; a console served over
// plain HTTP from another machine has none.
async function copyText(text: string): Promise<void> {
  if (!("clipboard" in navigator)) throw new Error("no clipboard in an insecure context");
  await navigator.clipboard.writeText(text);
}
