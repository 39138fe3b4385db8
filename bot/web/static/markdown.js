// A little Markdown, as DOM nodes. Every word goes in as text; nothing is ever parsed as HTML, and nothing is loaded.

const INLINE = new RegExp(
  [
    "(?<ticks>`+)(?<code>[^]*?[^`])\\k<ticks>(?!`)",
    "!?\\[(?<label>[^\\[\\]\\n]{1,500})\\]\\((?<target>https?://[^\\s()]*(?:\\([^\\s()]*\\)[^\\s()]*)*)\\)",
    "(?<address>https?://[^\\s<>\"'`*]*[^\\s<>\"'`*.,;:!?()\\[\\]])",
    "\\*\\*(?<bold>(?=\\S)[^]*?\\S)\\*\\*",
    "(?<!\\w)_(?<under>(?=\\S)[^_\\n]*?\\S)_(?!\\w)",
    "(?<!\\*)\\*(?<italic>(?=\\S)[^*\\n]*?\\S)\\*(?!\\*)",
    "\\\\(?<escaped>[\\\\`*_{}\\[\\]()#+.!|>~-])",
  ].join("|"),
  "g",
);
const DEEPEST = 4;
const LONGEST = 20000; // beyond this a paragraph is shown as it is: the patterns above are not linear

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

function link(address, label) {
  const made = element("a", label);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener noreferrer nofollow";
  return made;
}

function inline(text, depth = 0) {
  if (depth > DEEPEST || text.length > LONGEST) return [document.createTextNode(text)];
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > from) nodes.push(document.createTextNode(text.slice(from, match.index)));
    nodes.push(...marked(match.groups, depth + 1));
    from = match.index + match[0].length;
  }
  if (from < text.length) nodes.push(document.createTextNode(text.slice(from)));
  return nodes;
}

function marked(found, depth) {
  if (found.code !== undefined) return [element("code", found.code.trim() || found.code)];
  if (found.target !== undefined) {
    const shown = element("span", ` (${found.target})`); // a label must not hide where it leads
    shown.className = "address";
    return found.label === found.target
      ? [link(found.target, found.label)]
      : [link(found.target, found.label), shown];
  }
  if (found.address !== undefined) return [link(found.address, found.address)];
  if (found.bold !== undefined) return [element("strong", ...inline(found.bold, depth))];
  if (found.under !== undefined) return [element("em", ...inline(found.under, depth))];
  if (found.italic !== undefined) return [element("em", ...inline(found.italic, depth))];
  return [document.createTextNode(found.escaped)];
}

function lines(texts) {
  return texts.flatMap((text, index) => (index ? [element("br"), ...inline(text)] : inline(text)));
}

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}#{1,6}\s+(.*?)\s*#*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const ROW = /^\s*\|.*\|\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;

function begins(line) {
  return [FENCE, HEADING, QUOTE, ITEM, ROW, RULE].some((block) => block.test(line)) || !line.trim();
}

function take(source, wanted) {
  const taken = [];
  while (source.length && wanted(source[0])) taken.push(source.shift());
  return taken;
}

function fence(source) {
  const mark = source.shift().match(FENCE)[1];
  const inside = take(source, (line) => !(line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "")));
  source.shift();
  return element("pre", element("code", inside.join("\n")));
}

// Items deeper than the first become a list inside the item before them.
function list(items) {
  const [first] = items;
  const numbered = /\d/.test(first.sign);
  const made = element(numbered ? "ol" : "ul");
  if (numbered) made.start = Number.parseInt(first.sign, 10);
  for (let at = 0; at < items.length; ) {
    const own = element("li", ...lines(items[at].texts));
    const inner = [];
    for (at += 1; at < items.length && items[at].depth > first.depth + 1; at += 1) inner.push(items[at]);
    if (inner.length) own.append(list(inner));
    made.append(own);
  }
  return made;
}

function items(source) {
  const found = [];
  while (source.length) {
    const match = source[0].match(ITEM);
    if (match && !RULE.test(source[0])) {
      found.push({ depth: match[1].length, sign: match[2], texts: [match[3]] });
    } else if (/^\s{2,}\S/.test(source[0])) {
      found.at(-1).texts.push(source[0].trim());
    } else if (source[0].trim() || !ITEM.test(source[1] ?? "")) {
      break;
    }
    source.shift();
  }
  return found;
}

function block(source) {
  const [line] = source;
  if (FENCE.test(line)) return fence(source);
  if (RULE.test(line)) return source.shift() && element("hr");
  if (HEADING.test(line)) return element("h3", ...inline(source.shift().match(HEADING)[1]));
  if (ITEM.test(line)) return list(items(source));
  if (ROW.test(line)) return element("pre", element("code", take(source, (row) => ROW.test(row)).join("\n")));
  if (QUOTE.test(line)) {
    const quoted = take(source, (row) => QUOTE.test(row)).map((row) => row.replace(QUOTE, ""));
    return element("blockquote", ...lines(quoted));
  }
  return element("p", ...lines([source.shift(), ...take(source, (row) => !begins(row))]));
}

export function markdown(text) {
  const source = text.replaceAll("\r\n", "\n").split("\n");
  const shown = document.createDocumentFragment();
  while (source.length) {
    if (source[0].trim()) shown.append(block(source));
    else source.shift();
  }
  return shown;
}
