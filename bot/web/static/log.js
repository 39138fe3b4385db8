// The conversation as it is shown: bubbles, tool lines, dividers.

import { markdown } from "/static/markdown.js";

const log = document.getElementById("log");
const scroller = document.getElementById("scroller");
const byId = new Map(); // the id of a message or a tool call -> its element
const NEAR_PIXELS = 120;
const MOST_ENTRIES = 600;

let sayWord = () => {};
let following = true; // the newest line stays in view, until the reader scrolls up

export function actions(say) {
  sayWord = say;
}

export function clear() {
  log.replaceChildren();
  byId.clear();
}

export function shownIds() {
  return new Set(byId.keys());
}

function atBottom() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PIXELS;
}

export function scrollDown() {
  following = true;
  scroller.scrollTop = scroller.scrollHeight;
}

scroller.addEventListener("scroll", () => {
  following = atBottom();
});
const growth = new ResizeObserver(() => following && scrollDown());
for (const part of [scroller, ...scroller.children]) growth.observe(part);

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function add(id, made) {
  if (id) {
    made.dataset.id = id;
    byId.set(id, made);
  }
  log.append(made);
  while (log.childElementCount > MOST_ENTRIES) {
    byId.delete(log.firstElementChild.dataset.id);
    log.firstElementChild.remove();
  }
}

function clock(seconds) {
  if (!seconds) return "";
  return ` · ${new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`;
}

function person(data, here) {
  const shown = byId.get(data.id);
  if (shown) {
    setNote(shown, data.note ?? "");
    return;
  }
  const mine = data.person === here.person;
  const who = element("div", "who", `${mine ? "You" : here.names[data.person]}${clock(data.at ?? Date.now() / 1000)}`);
  const words = element("div", "words", data.text.trim() ? data.text : "(nothing)");
  const made = element("div", `entry ${mine ? "mine" : "theirs other"}`, who, words);
  add(data.id, made);
  setNote(made, data.note ?? "");
}

function setNote(entry, note) {
  entry.classList.toggle("unsent", Boolean(note));
  let line = entry.querySelector(".state");
  if (!note) {
    line?.remove();
    return;
  }
  if (!line) {
    line = element("div", "state");
    entry.append(line);
  }
  line.textContent = note;
}

function fill(entry, data) {
  entry.querySelector(".words").replaceChildren(markdown(data.text));
  entry.querySelector(".buttons")?.remove();
  if (!data.buttons?.length) return;
  const row = element("div", "buttons");
  for (const word of data.buttons) {
    const button = element("button", "", word);
    button.type = "button";
    button.addEventListener("click", () => {
      sayWord(word);
      document.getElementById("input").focus();
    });
    row.append(button);
  }
  entry.append(row);
}

function bot(data, here) {
  const known = byId.get(data.id);
  if (known) {
    fill(known, data);
    return;
  }
  const to = here.conversation === "team" && here.names[data.to] ? ` to ${here.names[data.to]}` : "";
  const who = element("div", "who", `Threadkeeper${data.by_agent ? " (AI)" : ""}${to}${clock(data.at)}`);
  const made = element("div", `entry theirs${data.by_agent ? "" : " notice"}`, who, element("div", "words"));
  fill(made, data);
  add(data.id, made);
}

function tool(data) {
  const seconds = data.seconds === undefined ? "" : ` · ${data.seconds.toFixed(1)} s`;
  const state = data.state === "started" ? "running…" : data.error ? `failed: ${data.error}` : "done";
  const className = `tool ${data.state === "started" ? "started" : data.error ? "failed" : "done"}`;
  const id = `tool ${data.reference} ${data.call}`;
  const words = [element("b", "", data.name), element("span", "state", `${state}${seconds}`)];
  const known = byId.get(id);
  if (known) {
    known.className = className;
    known.replaceChildren(...words);
  } else {
    add(id, element("div", className, ...words));
  }
}

function thread(data) {
  const why = data.reason === "first" ? "" : ` · ${data.reason}`;
  const carried = data.carried === "nothing" ? "" : ` · remembers by ${data.carried}`;
  add("", element("div", "divider", element("span", "", `New thread${why}${carried}`)));
}

// What the agent's own thread remembers, from before this process.
export function seen(entry, here) {
  if (entry.role === "user") person({ person: here.person, text: entry.text, at: 0 }, here);
  else bot({ text: entry.text, by_agent: true, at: 0 }, { ...here, conversation: "" });
}

export function show(kind, data, here) {
  if (kind === "said") person(data, here);
  else if (kind === "message" || kind === "update") bot(data, here);
  else if (kind === "tool") tool(data);
  else if (kind === "thread") thread(data);
}
