import "./theme/styles";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Providers } from "./Providers";
import { createQueryClient } from "./queryClient";
import { createConsoleRouter } from "./router";

const root = document.querySelector("#root");
if (!root) throw new Error("index.html has no #root");

const queryClient = createQueryClient(() => {
  // The guard of the console's routes sends the browser to the sign-in page.
  queryClient.clear();
  void router.invalidate();
});
const router = createConsoleRouter(queryClient);

createRoot(root).render(
  <StrictMode>
    <Providers queryClient={queryClient} router={router} />
  </StrictMode>,
);
