// The chat page: what the server says happened is shown; what is typed is sent until the server has it.

import { attached, encoded, put, refuse } from "/static/attach.js";
import { actions, answerFiles, clear, gone, grow, remove, scrollDown, seen, show, shownIds } from "/static/log.js";

const at = (id) => document.getElementById(id);
const input = at("input");
const NAMES = { alex: "Alex", sam: "Sam" };
const KINDS = ["said", "message", "update", "drafts", "typing", "run", "tool", "thread", "control", "ended"];
const RETRY_MILLISECONDS = 1000;
const MOST_HELD = 50;

let here = { person: "alex", conversation: "personal" };
let visit = 0; // raised with each load: what an earlier one still brings is not shown
let source = null;
let facts = { thread: null, backend: "", waiting: 0, ahead: 0 };
const runs = new Map(); // reference -> the run's state
const unanswered = new Map(); // reference -> a message of this page whose turn has not ended
const drafts = new Map(); // a place -> what is written there and not sent
const held = new Map(); // the id of a message of this page -> its files; a browser keeps them no longer than the page
let outbox = JSON.parse(sessionStorage.getItem("outbox") ?? "[]");
let sending = false;

const keyOf = (place) => `${place.person}/${place.conversation}`;
const sameConversation = (entry) => keyOf(entry) === keyOf(here);
const query = () => new URLSearchParams(here).toString();
const context = () => ({ ...here, names: NAMES, held });

// -- the head and the run's state ----------------------------------------------------------------------------

function ago(seconds) {
  if (seconds < 60) return "just now";
  const [size, name] = [[86400, "day"], [3600, "hour"], [60, "minute"]].find(([span]) => seconds >= span);
  const count = Math.floor(seconds / size);
  return `${count} ${name}${count === 1 ? "" : "s"} ago`;
}

function short(id) {
  return id.length > 18 ? `${id.slice(0, 11)}…${id.slice(-4)}` : id;
}

function part(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function showFacts() {
  const { thread, backend, waiting } = facts;
  const line = at("thread");
  line.replaceChildren();
  line.title = thread ? `Thread ${thread.id}` : "";
  if (thread) {
    const count = thread.messages;
    const opened = ago(Date.now() / 1000 + facts.ahead - thread.opened_at);
    line.append(part("b", `Thread ${thread.number ?? ""}`.trim()), " ", part("code", short(String(thread.id))));
    line.append(` · opened ${opened} · ${count} message${count === 1 ? "" : "s"}`);
  } else {
    line.append("No thread yet; your next message opens one");
  }
  if (backend) line.append(` · ${backend}`);
  if (waiting) line.append(` · ${waiting} waiting`);
}

function keepFacts(state) {
  facts = { ...state, ahead: state.now - Date.now() / 1000, history: [], events: [] };
  if (!state.running && !state.waiting) {
    runs.clear();
    unanswered.clear();
  } else if (state.running && !runs.has(state.running)) {
    runs.set(state.running, "running");
  }
  showFacts();
}

function busy() {
  return runs.size > 0 || unanswered.size > 0 || !at("typing").hidden || facts.waiting > 0;
}

function words(state) {
  const plain = state.replaceAll("_", " ");
  return plain.charAt(0).toUpperCase() + plain.slice(1);
}

function showRun(state, details) {
  const line = at("run");
  const word = part("b", words(state));
  if (state === "waiting") word.className = "waiting";
  line.replaceChildren(word, details.filter(Boolean).map((detail) => ` · ${detail}`).join(""));
  at("stop").classList.toggle("busy", busy());
}

function idle() {
  at("run").replaceChildren();
  at("stop").classList.toggle("busy", busy());
}

function onRun(data) {
  runs.set(data.reference, data.state);
  const delay = data.delay ? `again in ${Math.ceil(data.delay)} s` : "";
  showRun(data.state, [delay, data.cure, data.reference]);
}

function onEnded(data, replayed) {
  runs.delete(data.reference);
  unanswered.delete(data.reference);
  const [next] = runs;
  if (next) showRun(next[1], [next[0]]);
  else showRun(data.outcome, [`${data.seconds.toFixed(1)} s`, data.reference]);
  if (!replayed) refresh();
}

const typing = at("typing").querySelector("span");
const isTyping = typing.textContent;

function onTyping(data) {
  at("typing").hidden = !data.on;
  typing.textContent = data.words || isTyping;
  at("stop").classList.toggle("busy", busy());
}

function handle(kind, data, replayed) {
  if (kind === "typing") return onTyping(data);
  if (kind === "drafts") return grow(data.drafts, context());
  if (kind === "run") return onRun(data);
  if (kind === "ended") return onEnded(data, replayed);
  if (kind === "control" && !replayed) refresh();
  return show(kind, data, context());
}

// -- what the server has -------------------------------------------------------------------------------------

function lost(text) {
  at("connection").textContent = text;
  at("connection").hidden = !text;
}

async function state() {
  const response = await fetch(`/local/state?${query()}`);
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

async function refresh() {
  const mine = visit;
  try {
    const now = await state();
    if (mine === visit) keepFacts(now);
  } catch {
    // The event stream notices a lost connection and says so.
  }
}

// `again`: the place is the same, but the server doesn't know any more what it showed of it.
async function load(again = false) {
  visit += 1;
  const mine = visit;
  source?.close();
  let now;
  try {
    now = await state();
  } catch {
    if (mine !== visit) return;
    lost("No connection to Threadkeeper. Trying again…");
    setTimeout(() => mine === visit && load(again), RETRY_MILLISECONDS);
    return;
  }
  if (mine !== visit) return;
  rebuild(now, again ? answerFiles() : []);
  listen(now.last);
  lost(now.problem ?? "");
  flush();
}

function rebuild(now, files) {
  const waiting = [...unanswered.values()].filter(sameConversation);
  at("log").setAttribute("aria-busy", "true"); // an old conversation is not read aloud
  clear();
  runs.clear();
  at("typing").hidden = true;
  for (const entry of now.history) seen(entry, context());
  const missing = files.filter((file) => !now.events.some(({ data }) => data.file?.url === file.url));
  if (missing.length) gone(missing.map((file) => file.name));
  for (const { kind, data } of now.events) handle(kind, data, true);
  const told = now.history.filter((entry) => entry.role === "user").slice(-10);
  for (const entry of waiting) {
    const known = shownIds().has(entry.id) || (entry.text && told.some((one) => one.text.endsWith(entry.text)));
    if (!known && (now.running || now.waiting)) mineShown(entry, "");
  }
  for (const entry of outbox.filter(sameConversation)) mineShown(entry, "Not sent yet");
  keepFacts(now);
  const [running] = runs;
  if (running) showRun(running[1], [running[0]]);
  else idle();
  at("log").removeAttribute("aria-busy");
  scrollDown();
}

function listen(last) {
  const mine = visit;
  let open = true;
  source = new EventSource(`/local/events?${query()}&after=${last}`);
  source.onopen = () => {
    if (!open) lost(facts.problem ?? "");
    open = true;
    flush();
  };
  source.onerror = () => {
    open = false;
    lost("Connection lost. Trying again…");
    // A refusal ends the stream for good; a lost connection is taken up again by the browser.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => mine === visit && load(true), RETRY_MILLISECONDS);
  };
  source.addEventListener("reset", () => mine === visit && load(true));
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => mine === visit && handle(kind, JSON.parse(event.data), false));
  }
}

// -- what is said --------------------------------------------------------------------------------------------

function mineShown(entry, note) {
  show("said", { ...entry, note }, context());
}

function keepOutbox(entries) {
  outbox = entries;
  sessionStorage.setItem("outbox", JSON.stringify(outbox));
}

function say(text, files = []) {
  if (!text.trim() && !files.length) return;
  const entry = { id: crypto.randomUUID(), ...here, text };
  if (files.length) {
    entry.files = files.map(({ name, type }) => ({ name, content_type: type }));
    held.set(entry.id, files);
  }
  keepOutbox([...outbox, entry]);
  const sent = [...held.keys()].filter((id) => !outbox.some((unsent) => unsent.id === id));
  for (const id of sent.slice(0, -MOST_HELD)) held.delete(id);
  mineShown(entry, "");
  scrollDown();
  flush();
}

// A message that is refused goes back to where it was written, with the reason beside it.
function giveBack(entry, why) {
  const files = held.get(entry.id) ?? [];
  const joined = (text) => [entry.text, text].filter((one) => one.trim()).join("\n\n");
  held.delete(entry.id);
  if (!sameConversation(entry)) {
    const draft = drafts.get(keyOf(entry)) ?? { text: "", files: [] };
    drafts.set(keyOf(entry), { text: joined(draft.text), files: [...files, ...draft.files], why });
    return;
  }
  remove(entry.id);
  input.value = joined(input.value);
  put([...files, ...attached()]);
  refuse(`Not taken: ${why}`);
  fit();
}

// One at a time, so that what was said first arrives first. A retry has the same id, so it is one message.
async function flush() {
  if (sending) return;
  sending = true;
  while (outbox.length && (await post(outbox[0]))) keepOutbox(outbox.slice(1));
  sending = false;
  if (outbox.length) setTimeout(flush, RETRY_MILLISECONDS);
}

async function post(entry) {
  const note = (text) => sameConversation(entry) && mineShown(entry, text);
  if (entry.files && !held.has(entry.id)) {
    note("Not sent: the page was loaded again, which lost its files. Attach them once more.");
    return true;
  }
  const { files, ...body } = entry;
  try {
    if (files) body.attachments = await encoded(held.get(entry.id));
  } catch (unreadable) {
    giveBack(entry, unreadable.message);
    return true;
  }
  try {
    const response = await fetch("/local/messages", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (response.status >= 500) throw new Error(answer.error);
    if (!response.ok) {
      giveBack(entry, answer.error);
      return true;
    }
    if (answer.fresh) unanswered.set(answer.reference, entry);
    note("");
    return true;
  } catch {
    note("Not sent yet; trying again…");
    return false;
  }
}

// -- hands ---------------------------------------------------------------------------------------------------

function fit() {
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
}

function send() {
  const text = input.value;
  const files = attached();
  input.value = "";
  put([]);
  refuse("");
  say(text, files);
  fit();
  input.focus();
}

function go(place) {
  drafts.set(keyOf(here), { text: input.value, files: attached() });
  here = { ...here, ...place };
  unanswered.clear();
  const draft = drafts.get(keyOf(here)) ?? { text: "", files: [] };
  input.value = draft.text;
  put(draft.files);
  refuse(draft.why ? `Not taken: ${draft.why}` : "");
  input.placeholder = here.conversation === "team" ? `Ask something, as ${NAMES[here.person]}` : "Ask something";
  fit();
  history.replaceState(null, "", `#${keyOf(here)}`);
  for (const radio of document.querySelectorAll(".switch input")) radio.checked = here[radio.name] === radio.value;
  load();
}

const SHORTCUTS = {
  KeyN: () => say("start over"),
  KeyZ: () => say("undo"),
  Digit1: () => go({ person: "alex" }),
  Digit2: () => go({ person: "sam" }),
  KeyG: () => go({ conversation: here.conversation === "team" ? "personal" : "team" }),
};

function onKey(event) {
  if (event.isComposing) return;
  if (event.key === "Escape") {
    if (busy()) say("stop");
    input.focus();
  } else if (event.altKey && !event.ctrlKey && !event.metaKey && SHORTCUTS[event.code]) {
    event.preventDefault();
    SHORTCUTS[event.code]();
    input.focus();
  } else if (event.target === input && event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    send();
  } else if (event.target === document.body && event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
    input.focus();
  }
}

function onClick(event) {
  const word = event.target.closest?.("[data-say]")?.dataset.say;
  if (word) say(word);
  // A mouse gives the focus back to the words; the arrow keys, which click too, go on through the switch.
  if (word || (event.target.matches?.(".switch input") && event.detail > 0)) input.focus();
}

document.addEventListener("keydown", onKey);
document.addEventListener("click", onClick);
at("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
input.addEventListener("input", fit);
for (const radio of document.querySelectorAll(".switch input")) {
  radio.addEventListener("change", () => go({ [radio.name]: radio.value }));
}
actions(say);
setInterval(showFacts, 20000);

const [person, conversation] = location.hash.slice(1).split("/");
go({
  person: NAMES[person] ? person : "alex",
  conversation: conversation === "team" ? "team" : "personal",
});
