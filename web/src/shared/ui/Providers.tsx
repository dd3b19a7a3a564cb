import { MantineProvider } from "@mantine/core";
import { Notifications } from "@mantine/notifications";
import { QueryClientProvider, type QueryClient } from "@tanstack/react-query";
import { setNonce } from "get-nonce";
import type { ReactNode } from "react";

import { colorSchemeManager, cssVariables, theme } from "../theme/theme";

// What the page's Content-Security-Policy lets the style elements of its own scripts
// pass by; the server makes one for each answer. Mantine takes it from its provider,
// and what locks the scrolling behind its dialogs from get-nonce.
const styleNonce = document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? "";
setNonce(styleNonce);

const getStyleNonce = () => styleNonce;

interface Props {
  queryClient: QueryClient;
  children: ReactNode;
}

/** Everything that the pages stand on, but for their router. */
export function Providers({ queryClient, children }: Props) {
  return (
    <MantineProvider
      theme={theme}
      getStyleNonce={getStyleNonce}
      cssVariablesResolver={cssVariables}
      colorSchemeManager={colorSchemeManager}
      defaultColorScheme="auto"
    >
      <Notifications position="bottom-right" />
      <QueryClientProvider client={queryClient}>{children}</QueryClientProvider>
    </MantineProvider>
  );
}
