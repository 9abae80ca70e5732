// Keeps a page up to date: one stream of events, each an object {id: html} of the parts that changed.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const box = document.getElementById("live");
  const button = box.querySelector("button");
  const status = box.querySelector("[role=status]");
  let source = null;
  let paused = false;

  function say(word) {
    if (box.dataset.word === word) return;
    status.textContent = box.dataset[word];
    box.dataset.word = word;
  }

  function open() {
    if (source || paused || document.hidden) return;
    source = new EventSource(main.dataset.live);
    source.onopen = () => say("live");
    source.onerror = () => say(source.readyState === EventSource.CLOSED ? "closed" : "away");
    source.onmessage = (message) => {
      for (const [id, html] of Object.entries(JSON.parse(message.data))) {
        const fresh = document.createElement("template");
        fresh.innerHTML = html;
        become(document.getElementById(id), fresh.content);
      }
      document.dispatchEvent(new Event("news"));
    };
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  // Changes only what differs, so focus, selection and scroll positions stay. Elements with the same data-key are one.
  function become(old, fresh) {
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const key = next.dataset?.key;
      if (key !== undefined) {
        const kept = [...old.children].find((child) => child.dataset.key === key);
        if (!kept) { old.insertBefore(next, at); continue; }
        if (kept !== at) { old.insertBefore(kept, at); at = kept; }
      }
      if (!at || (at.nodeName !== next.nodeName && at.dataset?.key !== undefined)) {
        old.insertBefore(next, at);
      } else if (at.nodeName !== next.nodeName) {
        const after = at.nextSibling;
        at.replaceWith(next);
        at = after;
      } else {
        update(at, next);
        at = at.nextSibling;
      }
    }
    while (at) { const after = at.nextSibling; at.remove(); at = after; }
  }

  function update(at, next) {
    if (at.nodeType !== Node.ELEMENT_NODE) {
      if (at.data !== next.data) at.data = next.data;
      return;
    }
    for (const { name } of [...at.attributes]) if (!next.hasAttribute(name)) at.removeAttribute(name);
    for (const { name, value } of next.attributes) if (at.getAttribute(name) !== value) at.setAttribute(name, value);
    become(at, next);
  }

  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? box.dataset.resume : box.dataset.pause;
    if (paused) { close(); say("paused"); } else { say("connecting"); open(); }
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  box.hidden = false;
  open();
})();
