import "@/shared/theme/styles";

import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { createQueryClient } from "@/shared/api/queryClient";
import { Providers } from "@/shared/ui/Providers";
import { sessionQuery } from "./api/queries";
import { createOperatorRouter } from "./router";

const root = document.querySelector("#root");
if (!root) throw new Error("index.html has no #root");

const queryClient = createQueryClient(sessionQuery().queryKey, () => {
  // The guard of the console's routes sends the browser to the sign-in page.
  queryClient.clear();
  void router.invalidate();
});
const router = createOperatorRouter(queryClient);

createRoot(root).render(
  <StrictMode>
    <Providers queryClient={queryClient}>
      <RouterProvider router={router} />
    </Providers>
  </StrictMode>,
);
