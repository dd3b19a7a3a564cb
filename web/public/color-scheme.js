// Sets the colour scheme before the first paint. A file of its own, because the
// console's Content-Security-Policy allows no inline scripts.
(function () {
  var stored = null;
  try {
    stored = localStorage.getItem("signalbox-color-scheme");
  } catch {
    // Storage may be blocked; the system's scheme is used.
  }
  var dark =
    stored === "dark" || (stored !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
