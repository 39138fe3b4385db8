// The files that go along with the next message: chosen, dropped or pasted, shown as chips until they are sent.

import { chip } from "/static/beside.js";

const MOST_FILES = 4;
const MOST_MEGABYTES = 5;
const MOST_BYTES = MOST_MEGABYTES * 1024 * 1024;

const at = (id) => document.getElementById(id);
const input = at("input");
let chosen = [];

export function refuse(why) {
  at("refusal").textContent = why;
  at("refusal").hidden = !why;
  if (why) input.setAttribute("aria-describedby", "refusal");
  else input.removeAttribute("aria-describedby");
}

function showChips() {
  const row = at("chips");
  row.replaceChildren(...chosen.map((file, index) => chip(file, () => remove(index))));
  row.hidden = !chosen.length;
}

function remove(index) {
  chosen = chosen.filter((_, place) => place !== index);
  refuse("");
  showChips();
  (at("chips").querySelectorAll("button")[Math.min(index, chosen.length - 1)] ?? input).focus();
}

// What would be refused by the server is refused here, before anything is sent.
function fault(file, before) {
  const total = before.reduce((sum, one) => sum + one.size, file.size);
  let why = "";
  if (!file.size) why = "it is empty, or can't be read";
  else if (before.length >= MOST_FILES) why = `a message can have ${MOST_FILES} files`;
  else if (file.size > MOST_BYTES) why = `it is larger than ${MOST_MEGABYTES} MB`;
  else if (total > MOST_BYTES) why = `with the others it would be more than ${MOST_MEGABYTES} MB`;
  return why && `${file.name} isn't attached: ${why}.`;
}

export function attach(files) {
  const faults = [];
  for (const file of files) {
    const why = fault(file, chosen);
    if (why) faults.push(why);
    else chosen = [...chosen, file];
  }
  refuse(faults.join(" "));
  showChips();
}

export function attached() {
  return chosen;
}

export function put(files) {
  chosen = files;
  showChips();
}

async function base64(file) {
  const reader = new FileReader();
  const read = new Promise((resolve, reject) => {
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error(`${file.name} can't be read any more; attach it again.`));
  });
  reader.readAsDataURL(file);
  return read;
}

// As the server takes them. An error says which file could not be read.
export async function encoded(files) {
  return Promise.all(
    files.map(async (file) => ({ name: file.name, content_type: file.type, data: await base64(file) })),
  );
}

// -- hands ---------------------------------------------------------------------------------------------------

const brings = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

function onDrag(event) {
  if (!brings(event)) return;
  event.preventDefault(); // else the browser leaves the page for the file
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.add("dropping");
}

function onLeave(event) {
  if (event.type === "drop" || !event.relatedTarget) document.body.classList.remove("dropping");
}

function onDrop(event) {
  onLeave(event);
  if (!brings(event)) return;
  event.preventDefault();
  attach(event.dataTransfer.files);
  input.focus();
}

function onPaste(event) {
  const { files, types } = event.clipboardData;
  if (!files.length || types.includes("text/plain")) return; // words that bring a picture of themselves are words
  event.preventDefault();
  attach(files);
  input.focus();
}

at("attach").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", (event) => {
  attach(event.target.files);
  event.target.value = ""; // the same file can be chosen again
  input.focus();
});
input.addEventListener("input", () => refuse(""));
document.addEventListener("dragover", onDrag);
document.addEventListener("dragleave", onLeave);
document.addEventListener("drop", onDrop);
document.addEventListener("paste", onPaste);
