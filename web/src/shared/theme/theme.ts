import {
  createTheme,
  localStorageColorSchemeManager,
  type CSSVariablesResolver,
  type MantineColorsTuple,
} from "@mantine/core";

// Shades 6 and 7 carry white text at 4.6:1 and 6.3:1.
const signal: MantineColorsTuple = [
  "#ebf7f3", "#d3eee4", "#a5decb", "#73cdb0", "#46b896", "#259f7d", "#0f8465", "#0b6e54", "#0a5a46", "#084736",
];

const red: MantineColorsTuple = [
  "#fdebe9", "#fad3cf", "#f3aaa3", "#ec8076", "#e45d51", "#da4438", "#c4372e", "#b3261e", "#8f1d17", "#6d1611",
];

// Neutrals with a little green, so that surfaces and the accent belong together.
const gray: MantineColorsTuple = [
  "#f6f8f7", "#eef1f0", "#e1e7e4", "#cfd7d3", "#aab5b0", "#84918b", "#66746e", "#4d5a55", "#33403b", "#17211e",
];
const dark: MantineColorsTuple = [
  "#dfe6e3", "#b3bfba", "#93a09b", "#5d6b66", "#33403c", "#27322f", "#1a2321", "#121a18", "#0d1412", "#080d0c",
];

export const theme = createTheme({
  primaryColor: "signal",
  // Mantine's own filled colours miss WCAG AA; these palettes and shades meet it.
  primaryShade: { light: 7, dark: 6 },
  colors: { signal, red, gray, dark },
  black: "#17211e",
  fontFamily: '"Geist Variable", system-ui, sans-serif',
  fontFamilyMonospace: '"Geist Mono Variable", ui-monospace, "SFMono-Regular", Menlo, monospace',
  headings: {
    fontWeight: "620",
    sizes: {
      h1: { fontSize: "1.625rem", lineHeight: "1.25" },
      h2: { fontSize: "1.125rem", lineHeight: "1.35" },
      h3: { fontSize: "0.9375rem", lineHeight: "1.4" },
    },
  },
  defaultRadius: "md",
  radius: { xs: "4px", sm: "6px", md: "8px", lg: "12px", xl: "16px" },
  cursorType: "pointer",
  focusRing: "auto",
  respectReducedMotion: true,
  components: {
    Modal: {
      defaultProps: { closeButtonProps: { "aria-label": "Close" }, padding: "lg", radius: "lg" },
      styles: {
        content: { background: "var(--sb-surface)" },
        header: { background: "var(--sb-surface)" },
        title: { fontSize: "1.0625rem", fontWeight: 620, letterSpacing: "-0.015em" },
      },
    },
    Notification: { defaultProps: { closeButtonProps: { "aria-label": "Dismiss" } } },
    // Its role is no child that a menu may have.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false } },
  },
});

/** The tokens of the product's own style sheets (--sb-*), by scheme. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#f6f8f7",
    "--mantine-color-text": "#17211e",
    "--mantine-color-dimmed": "#55635d",
    "--mantine-color-placeholder": "#6b7973",
    "--mantine-color-error": "#b3261e",
    "--mantine-color-anchor": "#0b6e54",
    "--mantine-color-default-border": "#cfd7d3",
    "--sb-ink": "#17211e",
    "--sb-ink-soft": "#55635d",
    "--sb-surface": "#ffffff",
    "--sb-surface-sunk": "#f0f3f2",
    "--sb-line": "#e1e7e4",
    "--sb-accent": "#0b6e54",
    "--sb-accent-soft": "#e3f3ed",
    "--sb-accent-ink": "#0a5a46",
    "--sb-warn-soft": "#fdf1dc",
    "--sb-warn-ink": "#7a4a00",
    "--sb-bad-soft": "#fdebe9",
    "--sb-bad-ink": "#9b1c14",
    "--sb-chart-1": "#0b6e54",
    "--sb-chart-2": "#3757c4",
    "--sb-chart-3": "#a45a08",
    "--sb-shadow": "0 1px 2px rgb(23 33 30 / 5%)",
  },
  dark: {
    "--mantine-color-body": "#0d1412",
    "--mantine-color-text": "#e4ebe8",
    "--mantine-color-dimmed": "#9caaa4",
    "--mantine-color-placeholder": "#85938d",
    "--mantine-color-error": "#ff9d94",
    "--mantine-color-anchor": "#6fd3b4",
    "--mantine-color-default": "#18211f",
    "--mantine-color-default-hover": "#1f2a27",
    "--mantine-color-default-border": "#33403c",
    "--sb-ink": "#e4ebe8",
    "--sb-ink-soft": "#9caaa4",
    "--sb-surface": "#141c1a",
    "--sb-surface-sunk": "#0f1715",
    "--sb-line": "#25302c",
    "--sb-accent": "#46b896",
    "--sb-accent-soft": "#12312a",
    "--sb-accent-ink": "#7fdcc0",
    "--sb-warn-soft": "#33270f",
    "--sb-warn-ink": "#f3c67a",
    "--sb-bad-soft": "#3a1a18",
    "--sb-bad-ink": "#ffb1aa",
    "--sb-chart-1": "#4fd1ab",
    "--sb-chart-2": "#8fa6ff",
    "--sb-chart-3": "#f0a95b",
    "--sb-shadow": "none",
  },
});

/** Keeps the choice under the key that public/color-scheme.js reads. */
export const colorSchemeManager = localStorageColorSchemeManager({ key: "signalbox-color-scheme" });
