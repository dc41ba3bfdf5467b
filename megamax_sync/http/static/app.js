// What the pages do beyond what they show: they follow what happens, and copy. Without it all of
// the rest works. Text from the server comes as finished HTML, escaped there, or as JSON numbers.
"use strict";

(() => {
  const find = (id) => document.getElementById(id);

  // -- copying -----------------------------------------------------------------------------

  const say = (text) => {
    const box = find("said");
    box.textContent = text;
    box.classList.add("shown");
    clearTimeout(say.timer);
    say.timer = setTimeout(() => box.classList.remove("shown"), 2500);
  };

  const copy = async (field) => {
    // The clipboard is for pages over HTTPS and on this machine; elsewhere the selection serves.
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(field.value);
      return true;
    }
    field.select();
    return document.execCommand("copy");
  };

  const showButtons = () => {
    for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const field = find(button.dataset.copy);
    const done = await copy(field).catch(() => false);
    if (!done) field.select();
    button.focus();
    say(done ? "Copied" : "Press Ctrl+C to copy");
  });

  document.addEventListener("focusin", (event) => {
    if (event.target.matches(".copy input")) event.target.select();
  });

  showButtons();

  // -- following ---------------------------------------------------------------------------

  // Makes an element like another one, keeping what is alike, so that neither the focus nor a
  // selection is lost. Rows are told apart by their key.
  const same = (one, other) =>
    one.nodeType === other.nodeType &&
    one.nodeName === other.nodeName &&
    (one.nodeType !== Node.ELEMENT_NODE || one.dataset.key === other.dataset.key);

  const become = (now, next) => {
    if (now.nodeType !== Node.ELEMENT_NODE) {
      if (now.data !== next.data) now.data = next.data;
      return;
    }
    for (const { name } of [...now.attributes]) {
      const shown = name === "hidden" && now.dataset.copy;
      if (!next.hasAttribute(name) && !shown) now.removeAttribute(name);
    }
    for (const { name, value } of next.attributes) {
      const shown = name === "hidden" && now.dataset.copy;
      if (now.getAttribute(name) !== value && !shown) now.setAttribute(name, value);
    }
    const keyed = new Map();
    for (const child of now.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
    let place = now.firstChild;
    for (const wanted of [...next.childNodes]) {
      const known = wanted.nodeType === Node.ELEMENT_NODE && keyed.get(wanted.dataset.key);
      if (known && known !== place) now.insertBefore(known, place);
      const current = known || place;
      if (current && same(current, wanted)) {
        become(current, wanted);
        place = current.nextSibling;
      } else {
        now.insertBefore(wanted, place);
      }
    }
    while (place) {
      const after = place.nextSibling;
      place.remove();
      place = after;
    }
  };

  const parsed = (html) => new DOMParser().parseFromString(html, "text/html");

  const replace = (id, html) => {
    const now = find(id);
    const next = now && parsed(html).getElementById(id);
    if (next) become(now, next);
  };

  // Pages that are no overview are loaded anew, in part, when a job has moved that they show.
  let loading = false;
  let again = false;
  const reload = async () => {
    if (loading) {
      again = true;
      return;
    }
    loading = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) {
        const page = parsed(await answer.text());
        for (const now of document.querySelectorAll("[data-reload]")) {
          const next = page.getElementById(now.id);
          if (next) become(now, next);
        }
        showButtons();
      }
    } catch {
      // The next event tries it again.
    }
    setTimeout(() => {
      loading = false;
      if (again) {
        again = false;
        reload();
      }
    }, 2000);
  };

  const concerns = (moved) => {
    const job = document.querySelector("[data-job]");
    if (job) return moved.includes(Number(job.dataset.job));
    return document.querySelector("[data-reload]") !== null;
  };

  if (document.body.dataset.live && window.EventSource) {
    const mark = find("live");
    const events = new EventSource("/api/events?parts=1");
    const alive = (yes) => {
      mark.hidden = false;
      mark.textContent = yes ? "Live" : "Reconnecting";
      mark.classList.toggle("lost", !yes);
    };
    events.addEventListener("open", () => alive(true));
    events.addEventListener("error", () => alive(false));
    events.addEventListener("parts", (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
    });
    events.addEventListener("changed", (event) => {
      if (concerns(JSON.parse(event.data))) reload();
    });
    window.addEventListener("pagehide", () => events.close());
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) location.reload();
    });
  }
})();
