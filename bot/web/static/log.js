// The conversation as it is shown: bubbles, tool lines, dividers.

import { controls, question } from "/static/asks.js";
import { answerFile, element, sentFile, sources } from "/static/beside.js";
import { markdown } from "/static/markdown.js";

const log = document.getElementById("log");
const growing = document.getElementById("growing");
const scroller = document.getElementById("scroller");
const byId = new Map(); // the id of a message or a tool call -> its element
const filesOf = new Map(); // the id of a message -> the file it brought
const NEAR_PIXELS = 120;
const MOST_ENTRIES = 600;

let sayWord = () => {};
let following = true; // the newest line stays in view, until the reader scrolls up
let top = 0;

export function actions(say) {
  sayWord = say;
}

export function clear() {
  log.replaceChildren();
  growing.replaceChildren();
  byId.clear();
  filesOf.clear();
}

export function remove(id) {
  byId.get(id)?.remove();
  byId.delete(id);
}

export function shownIds() {
  return new Set(byId.keys());
}

// The files of answers that are shown now.
export function answerFiles() {
  return [...filesOf.values()];
}

function atBottom() {
  return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PIXELS;
}

export function scrollDown() {
  following = true;
  scroller.scrollTop = scroller.scrollHeight;
}

scroller.addEventListener("scroll", () => {
  // Only a way up leaves the newest line: an image that arrives late makes the end far, without anyone moving.
  if (scroller.scrollTop < top || atBottom()) following = atBottom();
  top = scroller.scrollTop;
});
const growth = new ResizeObserver(() => following && scrollDown());
for (const part of [scroller, ...scroller.children]) growth.observe(part);

function add(id, made) {
  if (id) {
    made.dataset.id = id;
    byId.set(id, made);
  }
  log.append(made);
  while (log.childElementCount > MOST_ENTRIES) {
    byId.delete(log.firstElementChild.dataset.id);
    filesOf.delete(log.firstElementChild.dataset.id);
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
  const files = data.files ?? [];
  const made = element("div", `entry ${mine ? "mine" : "theirs other"}`, who);
  if (data.text.trim() || !files.length) made.append(element("div", "words", data.text.trim() ? data.text : "(nothing)"));
  if (files.length) {
    const held = here.held?.get(data.id) ?? [];
    made.append(element("ul", "files", ...files.map((file, index) => sentFile(file, held[index]))));
  }
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

function buttons(words) {
  const row = element("div", "buttons");
  for (const word of words) {
    const button = element("button", "", word);
    button.type = "button";
    button.addEventListener("click", () => {
      sayWord(word);
      document.getElementById("input").focus();
    });
    row.append(button);
  }
  return row;
}

// Everything of a delivery but who said it.
function fill(entry, data, here) {
  const pressed = entry.contains(document.activeElement);
  while (entry.childElementCount > 1) entry.lastElementChild.remove();
  if (data.text.trim() || !data.file) entry.append(element("div", "words", markdown(data.text)));
  if (data.file) {
    entry.append(answerFile(data.file));
    filesOf.set(data.id, data.file);
  }
  if (data.citations?.length) entry.append(sources(data.citations));
  if (data.asks && !data.asks.outcome) entry.append(question(data.asks, here));
  if (data.controls?.length) entry.append(controls(data.controls, sayWord));
  if (data.buttons?.length) entry.append(buttons(data.buttons));
  if (pressed) document.getElementById("input").focus(); // the button that had it is gone
}

function recipient(data, here) {
  return here.conversation === "team" && here.names[data.to] ? ` to ${here.names[data.to]}` : "";
}

function bot(data, here) {
  const known = byId.get(data.id);
  if (known) {
    fill(known, data, here);
    return;
  }
  const to = recipient(data, here);
  const who = element("div", "who", `Threadkeeper${data.by_agent ? " (AI)" : ""}${to}${clock(data.at)}`);
  const made = element("div", `entry theirs${data.by_agent ? "" : " notice"}`, who);
  fill(made, data, here);
  if (data.draft) draftOf(data.draft)?.remove(); // these are its final words
  add(data.id, made);
}

// -- answers that grow ---------------------------------------------------------------------------------------

function draftOf(id) {
  return [...growing.children].find((made) => made.dataset.draft === id);
}

// All that grow now: those that are not among them have ended.
export function grow(drafts, here) {
  for (const made of [...growing.children]) {
    if (!drafts.some((draft) => draft.id === made.dataset.draft)) made.remove();
  }
  for (const draft of drafts) {
    let made = draftOf(draft.id);
    if (!made) {
      const who = element("div", "who", `Threadkeeper (AI)${recipient(draft, here)} · writing…`);
      made = element("div", "entry theirs draft", who, element("div", "words"));
      made.dataset.draft = draft.id;
      growing.append(made);
    }
    made.querySelector(".words").replaceChildren(markdown(draft.text));
  }
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

// What the server no longer tells of, most often since it was started again.
export function gone(names) {
  const shown = names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
  add("", element("div", "divider", element("span", "", `Files that are no longer here: ${shown}`)));
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
