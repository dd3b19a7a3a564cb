import { CopyButton } from "./CopyButton";
import classes from "./CodeBlock.module.css";
import { highlight } from "../lib/highlight";

interface Props {
  code: string;
  /** What it is, for the copy button and screen readers: "curl command". */
  what: string;
  /** Shown in the block's bar: a file name or a program. */
  title: string;
}

/** Code to copy. Long lines scroll inside the block. */
export function CodeBlock({ code, what, title }: Props) {
  return (
    <div className={classes["block"]}>
      <div className={classes["bar"]}>
        <span>{title}</span>
        <CopyButton value={code} what={what} variant="button" />
      </div>
      {/* Focusable, so that the keyboard can scroll it. */}
      <pre className={classes["pre"]} tabIndex={0} role="region" aria-label={what}>
        <code>
          {highlight(code).map((part, index) => (
            <span key={`${index}-${part.kind}`} className={classes[part.kind]}>
              {part.text}
            </span>
          ))}
        </code>
      </pre>
    </div>
  );
}
