// The page's own behaviour: look, clock, and what happens when the socket falls silent.
"use strict";

(() => {
  const root = document.documentElement;
  const app = document.getElementById("app");

  // ---- look ---------------------------------------------------------------------------------
  const light = document.getElementById("theme-light");
  const dark = document.getElementById("theme-dark");
  const safe = document.getElementById("vision-safe");
  const chosen = look.read();
  (chosen.theme === "light" ? light : dark).checked = true;
  safe.checked = Boolean(chosen.safe);
  for (const input of [light, dark, safe]) {
    input.addEventListener("change", () => look.save({ theme: light.checked ? "light" : "dark", safe: safe.checked }));
  }

  // ---- clock: the exchange's schedules speak Eastern time -------------------------------------
  const clock = document.getElementById("clock");
  const eastern = new Intl.DateTimeFormat("en-GB", { timeZone: "America/New_York", timeStyle: "medium" });
  function tick() {
    const now = new Date();
    clock.firstElementChild.textContent = eastern.format(now);
    clock.dateTime = now.toISOString();
    clock.title = now.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  }
  tick();
  setInterval(tick, 1000);

  // ---- socket: news at least once a second, else what is shown is old -------------------------
  const SILENT_AFTER_MS = 3000;
  const RECONNECT_MOST_MS = 5000;
  const LOGGED_OUT = 4401;
  const OURS = 4000; // codes from here on are the server's own; htmx reconnects after the standard ones only
  const socket = document.getElementById("socket");
  const notice = document.getElementById("link");
  if (!socket) return;

  let newsAt = performance.now();
  let wasClosed = false;
  let isLoggedOut = false;

  // Full jitter, but never so long that an operator reloads by hand.
  const delay = (retry) => Math.random() * Math.min(RECONNECT_MOST_MS, 500 * 2 ** retry);
  htmx.config.wsReconnectDelay = delay;

  function say(text) {
    const isLost = text !== "";
    if (isLost) root.dataset.link = "lost";
    else delete root.dataset.link;
    if (notice.textContent !== text) notice.textContent = text;
    notice.hidden = !isLost;
  }

  function lookAtAge() {
    const silentMs = performance.now() - newsAt;
    if (isLoggedOut) return;
    if (!wasClosed && silentMs < SILENT_AFTER_MS) say("");
    else {
      const silent = `${Math.round(silentMs / 1000)} s`;
      say(`Disconnected: no news from the web process for ${silent}, all figures are old. Trying again…`);
    }
  }
  setInterval(lookAtAge, 1000);
  document.addEventListener("visibilitychange", lookAtAge);

  document.body.addEventListener("htmx:wsOpen", () => {
    // What was missed is fetched whole, with whatever version of the page is served now.
    if (wasClosed) location.reload();
  });

  document.body.addEventListener("htmx:wsClose", (event) => {
    wasClosed = true;
    isLoggedOut = event.detail.event.code === LOGGED_OUT;
    if (!isLoggedOut) {
      if (event.detail.event.code >= OURS) setTimeout(event.detail.socketWrapper.reconnect, delay(1));
      return lookAtAge();
    }
    say("You are logged out, all figures are old. ");
    const link = document.createElement("a");
    link.href = "/login/";
    link.className = "btn small";
    link.textContent = "Log in";
    notice.append(link);
  });

  document.body.addEventListener("htmx:wsAfterMessage", (event) => {
    newsAt = performance.now();
    lookAtAge();
    const mode = document.getElementById("strip").dataset.mode;
    app.dataset.mode = mode;
    document.title = document.title.replace(/^(LIVE|DRY-RUN)/, mode === "live" ? "LIVE" : "DRY-RUN");
    // The server sends the next message once this one is shown.
    event.detail.socketWrapper.sendImmediately("shown");
  });

  // ---- a figure that changed lights up briefly ------------------------------------------------
  Idiomorph.defaults.callbacks.beforeNodeMorphed = (before, after) => {
    if (before.nodeType !== Node.TEXT_NODE || before.nodeValue === after.nodeValue) return;
    before.parentElement?.closest("[data-flash]")?.classList.add("flash");
  };
})();
