// Dark or light: as the system says, or as the reader chose here before.
"use strict";
{
  const kept = "noether-report-theme";

  const chosen = () => {
    try {
      return localStorage.getItem(kept) || "system";
    } catch { // where a browser keeps nothing for files
      return document.documentElement.dataset.chosen || "system";
    }
  };

  const show = () => {
    const theme = chosen();
    const isDark = theme === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) button.textContent = `Theme: ${theme}`;
    document.dispatchEvent(new Event("themechange"));
  };

  const next = { system: "light", light: "dark", dark: "system" };

  show();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    document.getElementById("theme").addEventListener("click", () => {
      const theme = next[chosen()] || "system";
      document.documentElement.dataset.chosen = theme;
      try {
        localStorage.setItem(kept, theme);
      } catch { /* kept for as long as the page is open */ }
      show();
    });
    show();
  });

  // Paper is white.
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    document.dispatchEvent(new Event("themechange"));
  });
  addEventListener("afterprint", show);
}
