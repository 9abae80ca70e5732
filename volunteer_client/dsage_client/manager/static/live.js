// Keeps a page up to date: one stream of events, each an object {id: html} of the parts that changed.
"use strict";
(() => {
  const word = document.getElementById("live");
  let source = null;

  function open() {
    if (source || document.hidden) return;
    source = new EventSource(word.dataset.stream);
    source.onopen = () => say(word.dataset.live, true);
    source.onerror = () => say(word.dataset.away, false);
    source.onmessage = (message) => {
      for (const [id, html] of Object.entries(JSON.parse(message.data))) {
        const fresh = document.createElement("template");
        fresh.innerHTML = html;
        const place = document.getElementById(id);
        if (place) children(place, fresh.content);
      }
    };
  }

  function close() {
    if (source) source.close();
    source = null;
  }

  function say(text, live) {
    if (word.textContent !== text) word.textContent = text;
    word.classList.toggle("on", live);
  }

  // Only what differs is changed, so that focus, an open list and a marked text stay as they are.
  function children(old, fresh) {
    const wanted = [...fresh.childNodes];
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
    wanted.forEach((next, index) => {
      const at = old.childNodes[index];
      if (!at) old.append(next);
      else if (at.nodeName !== next.nodeName || at.dataset?.key !== next.dataset?.key) at.replaceWith(next);
      else if (at.nodeType !== Node.ELEMENT_NODE) { if (at.data !== next.data) at.data = next.data; }
      else {
        for (const { name } of [...at.attributes]) if (!next.hasAttribute(name)) at.removeAttribute(name);
        for (const { name, value } of next.attributes) if (at.getAttribute(name) !== value) at.setAttribute(name, value);
        children(at, next);
      }
    });
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
})();
