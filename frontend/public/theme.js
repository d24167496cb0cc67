// Loaded in <head> before the styles, without defer: sets the theme before the first paint. Plain JavaScript, so that it
// needs no build and no inline script. A choice is kept in localStorage; without one the system's preference holds.
(() => {
  const KEY = "patchsorter.theme";
  const root = document.documentElement;
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be forbidden by the browser's settings
    }
  };
  const apply = () => {
    const choice = stored();
    root.dataset.theme = choice === "dark" || choice === "light" ? choice : prefersDark.matches ? "dark" : "light";
    window.dispatchEvent(new CustomEvent("theme:changed", { detail: root.dataset.theme }));
  };
  const toggle = () => {
    try {
      localStorage.setItem(KEY, root.dataset.theme === "dark" ? "light" : "dark");
    } catch {
      // not kept, but still applied below
    }
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    window.dispatchEvent(new CustomEvent("theme:changed", { detail: root.dataset.theme }));
  };
  apply();
  prefersDark.addEventListener("change", apply);
  window.addEventListener("storage", (event) => {
    if (event.key === KEY) apply();
  });
  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("[data-theme-toggle]")) toggle();
  });
})();
