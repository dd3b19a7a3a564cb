import classes from "./BrandMark.module.css";

interface Props {
  /** Side of the mark in pixels. */
  size?: number;
  /** Show the name beside the mark. */
  named?: boolean;
}

/** Signalbox's mark: one line comes in, three go out, one signal is green. */
export function BrandMark({ size = 28, named = false }: Props) {
  return (
    <span className={classes["brand"]}>
      <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="8" className={classes["tile"]} />
        <path
          d="M9 16h13M12 16c4 0 4-7 10-7M12 16c4 0 4 7 10 7"
          fill="none"
          stroke="#fff"
          strokeWidth="2.5"
          strokeLinecap="round"
        />
        <circle cx="8.5" cy="16" r="3.5" fill="#fff" />
        <circle cx="23.5" cy="9" r="2.75" fill="#7ff0c6" />
        <circle cx="23.5" cy="16" r="2.75" fill="#fff" />
        <circle cx="23.5" cy="23" r="2.75" fill="#fff" />
      </svg>
      {named && <span className={classes["name"]}>Signalbox</span>}
    </span>
  );
}
