import "@testing-library/jest-dom/vitest";

import { notifications } from "@mantine/notifications";
import { cleanup, configure } from "@testing-library/react";
import { afterEach, vi } from "vitest";

// A busy machine may take its time; what never comes still fails.
configure({ asyncUtilTimeout: 8_000 });
document.documentElement.lang = "en";

afterEach(() => {
  cleanup();
  notifications.clean();
});

// jsdom lacks what Mantine asks of a browser.
Object.defineProperty(window, "matchMedia", {
  value: (query: string) => ({
    matches: false,
    media: query,
    addEventListener: vi.fn(),
    removeEventListener: vi.fn(),
  }),
});
window.scrollTo = () => undefined;
class NoResize implements ResizeObserver {
  observe() {}
  unobserve() {}
  disconnect() {}
}
window.ResizeObserver ??= NoResize;
