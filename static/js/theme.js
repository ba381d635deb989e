// Runs before the page is painted: the chosen look, so that no other flashes up first.
"use strict";

const look = (() => {
  const KEY = "kalshimm.look";
  const root = document.documentElement;

  function read() {
    try {
      return JSON.parse(localStorage.getItem(KEY)) || {};
    } catch {
      return {}; // storage is switched off or holds something else: the default look
    }
  }

  function apply({ theme, safe }) {
    root.dataset.theme = theme === "light" ? "light" : "dark";
    if (safe) root.dataset.vision = "safe";
    else delete root.dataset.vision;
  }

  function save(chosen) {
    apply(chosen);
    try {
      localStorage.setItem(KEY, JSON.stringify(chosen));
    } catch {
      // kept for this page only
    }
  }

  apply(read());
  return { read, save };
})();
