// Passkeys: made on the page for logging in, and used by buttons that say so. Without them, other ways in stand beside.
"use strict";
(() => {
  const able = window.PublicKeyCredential?.parseCreationOptionsFromJSON && window.PublicKeyCredential?.parseRequestOptionsFromJSON;
  if (!able) return;

  async function ask(address, body) {
    const answer = await fetch(address, {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(`${said.detail ?? said.title ?? answer.status} ${said.hint ?? ""}`.trim());
    return said;
  }

  async function make(form) {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(await ask("/me/passkeys/ask"));
    const credential = await navigator.credentials.create({ publicKey });
    return ask("/me/passkeys", { name: form.elements.name.value, credential: credential.toJSON() });
  }

  async function login() {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(await ask("/me/passkey/ask"));
    const credential = await navigator.credentials.get({ publicKey });
    return ask("/me/passkey", credential.toJSON());
  }

  async function act(part, wish, next) {
    const wrong = part.parentElement.querySelector(".wrong") ?? part.querySelector(".wrong");
    wrong.textContent = "";
    part.setAttribute("aria-busy", "true");
    try {
      const said = await wish();
      location.assign(next ?? said.next);
    } catch (error) {
      wrong.textContent = error.message;
    } finally {
      part.removeAttribute("aria-busy");
    }
  }

  for (const part of document.querySelectorAll(".scripted")) part.hidden = false;
  for (const part of document.querySelectorAll(".scriptless")) part.hidden = true;
  for (const button of document.querySelectorAll('button[data-passkey="login"]')) {
    button.addEventListener("click", () => act(button, login, button.dataset.next));
  }
  for (const form of document.querySelectorAll('form[data-passkey="new"]')) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      act(form, () => make(form));
    });
  }
})();
