// Buttons below a message: Approve and Decline of a question, and controls such as Undo.

import { element } from "/static/beside.js";

const input = document.getElementById("input");

function title(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}

function button(word, className, press) {
  const made = element("button", className, title(word));
  made.type = "button";
  made.addEventListener("click", press);
  return made;
}

async function post(body) {
  const response = await fetch("/local/messages", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const answer = await response.json();
  return response.ok ? (answer.told ?? "") : "I couldn't take that just now. Press it again in a moment.";
}

// What the press came to is said below the buttons; a decided question loses them, since it is shown anew.
export function question(asks, here) {
  const told = element("p", "told");
  told.setAttribute("role", "status");
  let busy = false;
  const choice = (word, className) => {
    const id = crypto.randomUUID(); // one for each button: pressed twice, it is one message
    return button(word, className, async () => {
      if (busy) return;
      busy = true;
      const { person, conversation } = here;
      try {
        told.textContent = await post({ person, conversation, id, text: word, decides: asks.approval });
      } catch {
        told.textContent = "No connection to Threadkeeper. Press it again in a moment.";
      }
      busy = false;
    });
  };
  const row = element("div", "buttons", choice("approve", "approve"), choice("decline", "decline"));
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", `May I use ${asks.tool} for ${asks.asker}?`);
  return element("div", "asks", row, told);
}

export function controls(names, say) {
  const words = names.map((name) => name.replaceAll("_", " "));
  const press = (word) => () => {
    say(word);
    input.focus();
  };
  return element("div", "buttons controls", ...words.map((word) => button(word, "", press(word))));
}
