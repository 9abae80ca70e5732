// Puts the invite link, which stands behind the # and never leaves the browser, into what people copy and click.
"use strict";
(() => {
  for (const part of document.querySelectorAll(".scriptless")) part.hidden = true;
  const box = document.getElementById("link");
  const fragment = location.hash.slice(1) || box.dataset.public;
  document.getElementById("everybody").hidden = location.hash.length > 1;
  const whole = /^v=[12]&[A-Za-z0-9=&_.:[\]-]{100,900}$/.test(fragment);
  const at = /(^|&)at=/.test(fragment);
  if (!whole || (!at && !box.dataset.server)) {
    document.getElementById("missing").hidden = false;
    return;
  }
  const link = (at ? location.origin : box.dataset.server) + "/join#" + fragment;
  const command = `dsage join '${link}'`;
  document.getElementById("command").textContent = command;
  document.getElementById("open").href = link.replace(/^https?:/, "dsage:");
  box.hidden = false;

  const copy = document.getElementById("copy");
  copy.hidden = !navigator.clipboard;
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    const copied = document.getElementById("copied");
    copied.textContent = copied.dataset.done;
  });

  const picture = document.getElementById("picture");
  const unheard = location.protocol === "https:" || ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  if (picture && unheard) draw(picture, link);

  async function draw(place, text) {
    const reply = await fetch("/join/qr", { method: "POST", headers: { "Content-Type": "text/plain" }, body: text });
    if (!reply.ok) return;
    const drawn = new DOMParser().parseFromString(await reply.text(), "image/svg+xml").documentElement;
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", place.dataset.label);
    place.append(document.importNode(drawn, true));
    place.hidden = false;
  }
})();
