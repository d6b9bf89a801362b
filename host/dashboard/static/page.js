/* What every page has: questions before writes, parts that are asked for again, and times that stay true. */

import { tellTimes } from "./times.js";

const SECOND = 1000;

/** Asks in the dialog before a form with `data-ask` is sent; the server asks itself if no script runs. */
function askFirst(event) {
  const form = event.target;
  const dialog = document.getElementById("ask");
  if (!form.dataset.ask || form.elements.confirmed || !dialog) return;
  event.preventDefault();
  dialog.querySelector("p").textContent = form.dataset.ask;
  dialog.querySelector("[value=yes]").textContent = form.dataset.word;
  dialog.returnValue = "no";
  dialog.onclose = () => {
    if (dialog.returnValue !== "yes") return;
    const field = Object.assign(document.createElement("input"), { type: "hidden", name: "confirmed", value: "yes" });
    form.append(field);
    form.submit();
  };
  dialog.showModal();
}

/** Puts what the server says now in the place of what it said before; what was unfolded stays so. */
async function renew(part) {
  if (document.hidden || part.contains(document.activeElement) || part.querySelector(".hit:hover")) return;
  let reply;
  try {
    reply = await fetch(part.dataset.live, { headers: { "x-fragment": "1" } });
  } catch {
    return; // the host is away; the next time it may be back
  }
  if (reply.status === 401) location.reload();
  if (!reply.ok) return;
  const fresh = document.createElement("template");
  fresh.innerHTML = await reply.text();
  for (const details of part.querySelectorAll("details[open][data-keep]")) {
    fresh.content.querySelector(`details[data-keep=${details.dataset.keep}]`)?.setAttribute("open", "");
  }
  tellTimes(fresh.content);
  part.replaceChildren(fresh.content);
}

/** Buttons that copy a text are there only where a page may: over TLS, or on this machine. */
function offerToCopy() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 2 * SECOND);
    });
  }
}

document.addEventListener("submit", askFirst);
offerToCopy();
tellTimes(document);
setInterval(() => tellTimes(document), 30 * SECOND);
for (const part of document.querySelectorAll("[data-live]")) {
  setInterval(() => renew(part), Number(part.dataset.every) * SECOND);
}
