import { Button, Group } from "@mantine/core";

interface Props {
  hasNewer: boolean;
  /** The cursor of the page that follows; undefined when there is none. */
  next: string | undefined;
  onNewer: () => void;
  onOlder: (next: string) => void;
}

/** Turns the pages of a list that begins with the newest. */
export function Pager({ hasNewer, next, onNewer, onOlder }: Props) {
  return (
    <Group gap="xs">
      <Button variant="default" size="xs" disabled={!hasNewer} onClick={onNewer}>
        Newer
      </Button>
      <Button variant="default" size="xs" disabled={!next} onClick={() => next && onOlder(next)}>
        Older
      </Button>
    </Group>
  );
}
