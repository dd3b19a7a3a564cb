import { useEffect } from "react";

/** Names the document after the page: "Hubs · acme · Signalbox". */
export function useDocumentTitle(...parts: readonly string[]): void {
  const title = [...parts, "Signalbox"].join(" · ");
  useEffect(() => {
    document.title = title;
  }, [title]);
}
