// What stands beside the words: sources, files that the agent made, files that a person sent. All of it as text and
// known elements; an address from outside is a link only if it is of the web.

const RASTER = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const THUMB_PIXELS = 160;

export function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function sizeOf(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// -- sources -------------------------------------------------------------------------------------------------

function webAddress(text) {
  try {
    const address = new URL(text);
    return ["http:", "https:"].includes(address.protocol) ? address : null;
  } catch {
    return null;
  }
}

function source(citation) {
  const address = webAddress(citation.url);
  const title = citation.title.trim() || address?.host || "A source without a name";
  const line = element("span", "title");
  if (address) {
    const link = element("a", "", title);
    link.href = address.href;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    line.append(link);
    if (title !== address.host) line.append(" ", element("span", "address", address.host)); // where it leads
  } else {
    line.append(title);
  }
  const made = element("li", "", element("span", "mark", citation.mark), line);
  const quote = citation.quote.trim();
  if (quote) {
    const shown = element("q", "", quote);
    shown.title = quote;
    made.append(shown);
  }
  return made;
}

export function sources(citations) {
  const heading = element("h4", "", citations.length === 1 ? "Source" : "Sources");
  return element("section", "sources", heading, element("ul", "", ...citations.map(source)));
}

// -- files of answers ----------------------------------------------------------------------------------------

function badge(name) {
  const ending = name.includes(".") ? name.split(".").pop().slice(0, 4) : "file";
  const made = element("span", "badge", ending);
  made.setAttribute("aria-hidden", "true");
  return made;
}

function gone(file) {
  const words = "Files are kept in memory alone; a restart or newer files let go of it.";
  return element("p", "gone", element("b", "", file.name), ` isn't here any more. ${words}`);
}

async function isGone(file) {
  try {
    return (await fetch(file.url, { method: "HEAD" })).status === 404;
  } catch {
    return false; // nothing is known while there is no connection
  }
}

function follow(file) {
  const link = element("a");
  link.href = file.url;
  link.download = file.name;
  link.click();
}

function download(file) {
  const name = element("span", "name", file.name);
  const link = element("a", "file", badge(file.name), name, element("span", "size", sizeOf(file.size)));
  link.href = file.url;
  link.download = file.name;
  link.title = `Download ${file.name}`;
  link.addEventListener("click", async (event) => {
    event.preventDefault(); // a download that fails says nothing on the page
    if (await isGone(file)) link.replaceWith(gone(file));
    else follow(file);
  });
  return link;
}

function picture(file) {
  const image = element("img");
  image.alt = file.name;
  const link = element("a", "", image);
  link.href = file.url;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  const caption = element("figcaption", "", element("span", "name", file.name), ` · ${sizeOf(file.size)}`);
  const made = element("figure", "picture", link, caption);
  image.addEventListener("error", async () => {
    made.replaceWith((await isGone(file)) ? gone(file) : download(file));
  });
  image.src = file.url;
  return made;
}

export function answerFile(file) {
  return file.inline ? picture(file) : download(file);
}

// -- files of a person ---------------------------------------------------------------------------------------

// A canvas needs no address, so the page's policy stays as narrow as it is. An SVG is not drawn.
async function draw(canvas, held) {
  const image = await createImageBitmap(held);
  const scale = Math.min(1, THUMB_PIXELS / Math.min(image.width, image.height), 480 / image.width, 320 / image.height);
  canvas.width = Math.max(1, Math.round(image.width * scale));
  canvas.height = Math.max(1, Math.round(image.height * scale));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
}

export function preview(held) {
  if (!RASTER.includes(held?.type)) return null;
  const canvas = element("canvas", "thumb");
  canvas.width = canvas.height = 1;
  draw(canvas, held).catch(() => canvas.replaceWith(badge(held.name)));
  return canvas;
}

// `held` is the file itself, which only the page that sent it has.
export function sentFile(file, held) {
  const drawn = preview(held);
  const made = element("li", drawn ? "sent drawn" : "sent", drawn ?? badge(file.name), element("span", "name", file.name));
  made.title = file.content_type ? `${file.name} (${file.content_type})` : file.name;
  return made;
}

export function chip(held, remove) {
  const button = element("button", "remove", "×");
  button.type = "button";
  button.title = `Remove ${held.name}`;
  button.setAttribute("aria-label", `Remove ${held.name}`);
  button.addEventListener("click", remove);
  const words = element("span", "words-of", element("span", "name", held.name), element("span", "size", sizeOf(held.size)));
  return element("li", "chip", preview(held) ?? badge(held.name), words, button);
}
