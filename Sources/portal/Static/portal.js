// What makes the pages better than they are without: checks while one types, progress that follows by itself, buttons that copy,
// records looked up when the page is there already, times of this place. Every page works without it.
"use strict";

(() => {
  // Days before months in both languages.
  const lang = document.documentElement.lang === "fr" ? "fr-FR" : "en-GB";

  const piece = async (path) => {
    const answer = await fetch(path, { headers: { "X-Fragment": "1" }, credentials: "same-origin", cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.text();
  };

  const dress = (root) => {
    const format = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short" });
    for (const time of root.querySelectorAll("time[datetime]")) {
      const moment = new Date(time.dateTime);
      if (!Number.isNaN(moment.getTime())) {
        time.title = time.textContent;
        time.textContent = format.format(moment);
      }
    }
    for (const button of root.querySelectorAll("button.copy")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(button));
    }
    for (const link of root.querySelectorAll("a[data-reload]")) {
      const place = link.closest("[data-load]");
      if (place) link.addEventListener("click", (event) => { event.preventDefault(); load(place); });
    }
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "✓";
    } catch {
      // Without the clipboard's leave, the text is at least selected.
      getSelection().selectAllChildren(source);
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  // Pieces that take long to make.
  const load = async (place) => {
    place.setAttribute("aria-busy", "true");
    try {
      place.innerHTML = await piece(place.dataset.load);
      dress(place);
    } catch {
      // The link that is there leads to the same.
    }
    place.removeAttribute("aria-busy");
  };

  // Progress, until it is over.
  const follow = async (place) => {
    let pause = 250;
    for (;;) {
      await new Promise((resolve) => { setTimeout(resolve, pause); });
      try {
        const text = await piece(place.dataset.poll);
        if (text !== place.dataset.seen) {
          place.dataset.seen = text;
          place.innerHTML = text;
          dress(place);
        }
        pause = 400;
      } catch (error) {
        if (error.message === "403" || error.message === "404") { location.reload(); return; }
        pause = Math.min(pause * 2, 10000);
      }
      if (place.querySelector("[data-over]")) break;
    }
    const next = place.querySelector("a[data-follow]");
    if (next) setTimeout(() => { location.assign(next.href); }, 900);
  };

  // Whether an address is free, while one types.
  const check = (form) => {
    const verdict = form.querySelector("#verdict");
    let timer = 0;
    let round = 0;
    const ask = async () => {
      round += 1;
      const mine = round;
      const fields = new URLSearchParams(new FormData(form));
      fields.delete("token");
      try {
        const answer = JSON.parse(await piece(`${form.dataset.check}?${fields}`));
        if (mine !== round) return;
        verdict.textContent = answer.text;
        verdict.className = `verdict ${answer.free ? "free" : "taken"}`;
      } catch {
        if (mine === round) { verdict.textContent = ""; verdict.className = "verdict"; }
      }
    };
    const later = () => { clearTimeout(timer); timer = setTimeout(ask, 250); };
    const follows = () => {
      const name = form.querySelector("#name");
      const subdomain = form.querySelector("#subdomain");
      if (subdomain) subdomain.placeholder = name.value.toLowerCase();
    };
    form.addEventListener("input", () => { follows(); later(); });
    form.addEventListener("change", later);
    follows();
    if (form.querySelector("#name").value) ask();
  };

  dress(document);
  document.querySelectorAll("[data-load]").forEach(load);
  document.querySelectorAll("[data-poll]").forEach(follow);
  document.querySelectorAll("form[data-check]").forEach(check);
})();
