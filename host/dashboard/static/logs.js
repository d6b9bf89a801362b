/* The tail of a log: lines as the server sends them, at most LINES_MAX of them on the page. */

import { tellTimes } from "./times.js";

const LINES_MAX = 1000;

const log = document.getElementById("log");
const lines = document.getElementById("lines");
const button = document.getElementById("live");
const state = document.getElementById("live-state");
let source;
let last;

function say(text) {
  state.textContent = text;
}

/** The end stays in sight for who looks at it; who has scrolled up to read is left there. */
function add(html) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  tellTimes(fresh.content);
  lines.append(fresh.content);
  while (lines.children.length > LINES_MAX) lines.firstElementChild.remove();
  document.getElementById("no-lines").hidden = true;
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function start() {
  const address = new URL(log.dataset.stream, location);
  if (last) address.searchParams.set("cursor", last);
  source = new EventSource(address);
  source.onopen = () => say("Live: lines are shown as they come.");
  source.onmessage = (event) => {
    last = event.lastEventId;
    add(JSON.parse(event.data));
  };
  source.onerror = () => {
    const over = source.readyState === EventSource.CLOSED;
    say(over ? "The log cannot be followed just now. Load the page again." : "The connection is lost; it is tried again.");
  };
  button.textContent = "Pause";
  button.setAttribute("aria-pressed", "true");
}

function pause() {
  source.close();
  say("Paused. What comes meanwhile is shown when you go on.");
  button.textContent = "Go on";
  button.setAttribute("aria-pressed", "false");
}

button.addEventListener("click", () => (source.readyState === EventSource.CLOSED ? start() : pause()));
button.hidden = false;
log.scrollTop = log.scrollHeight;
start();
