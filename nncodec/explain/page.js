"use strict";
// Only the rows in sight are in the document. Everything of the file is shown by textContent.
const ROW = 20, STEPS = [0.1, 0.3, 0.6, 1, 2, 4, 8];
const $ = (id) => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const [begin, end] = about.range, n = end - begin;
const names = ["value", "bits", "network", "contexts", "rank", "expected", "flags", "length"];
const col = {};
let mode = about.text ? "text" : "hex", by = "bits", starts = new Uint32Array(1), rows = 0, at = -1, pinned = false;
const drawn = new Map();

function make(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}
const phone = () => matchMedia("(max-width: 700px)").matches;
const count = (x) => x.toLocaleString("en-US");
const cost = Float64Array.from({ length: 256 }, (_, q) => (q === 255 ? NaN : (2 ** (q / 30) - 1) / 16));
const shade = Uint8Array.from(cost, (b) => (b !== b ? 8 : STEPS.filter((s) => b >= s).length));
function bits(q) {
  const b = cost[q];
  return b !== b ? "not run" : q === 254 ? "22 or more" : b < 0.995 ? b.toFixed(3) : b.toFixed(2);
}

async function load() {
  const text = atob($("columns").textContent);
  const packed = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const all = new Uint8Array(await new Response(stream).arrayBuffer());
  names.forEach((name, i) => (col[name] = all.subarray(i * n, (i + 1) * n)));
  col.top = [...Array(5)].map((_, i) => all.subarray((8 + i) * n, (9 + i) * n));
  col.share = [...Array(5)].map((_, i) => all.subarray((13 + i) * n, (14 + i) * n));
}

// The character at a byte: its length, its code point (-1: no UTF-8), and how wide it is shown.
function charAt(i) {
  const a = col.value[i];
  if (a < 0x80) return [1, a];
  const more = a >= 0xf0 ? 3 : a >= 0xe0 ? 2 : 1;
  if (a < 0xc2 || a > 0xf4 || i + more >= n) return [1, -1];
  let point = a & (0x3f >> more);
  for (let k = 1; k <= more; k++) {
    const b = col.value[i + k];
    if ((b & 0xc0) !== 0x80) return [1, -1];
    point = (point << 6) | (b & 0x3f);
  }
  const low = [0, 0x80, 0x800, 0x10000][more];
  return point < low || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? [1, -1] : [more + 1, point];
}
const wide = (point) => point >= 0x1100 && (point < 0x2000 || point > 0x2bff);
function shownAs(point) {
  if (point < 0) return "\ufffd";
  if (point === 10) return "\u23ce";
  if (point === 9) return "\u21e5";
  const c = String.fromCodePoint(point);
  if (c === " ") return c;
  if (/\p{M}/u.test(c)) return "\u25cc" + c;
  return /[\p{C}\p{Z}]/u.test(c) ? "\u00b7" : c;
}
function nameOf(value) {
  const hex = "0x" + value.toString(16).padStart(2, "0");
  const word = { 0: "NUL", 9: "tab", 10: "line feed", 13: "CR", 27: "ESC", 32: "space" }[value];
  return word ? `${word} ${hex}` : value > 32 && value < 127 ? `${shownAs(value)} ${hex}` : hex;
}

// Where each row begins. Text breaks at line ends and at the width, hex at a power of two or 24.
function lay() {
  const width = $("view").clientWidth - 28;
  const probe = $("sheet").appendChild(make("div", undefined, "row"));
  const cell = probe.appendChild(make("span", "0"));
  cell.style.width = "1ch";
  const ch = cell.getBoundingClientRect().width || 8;
  probe.remove();
  const cells = Math.max(8, Math.floor(width / ch) - (phone() ? 0 : 9));
  const list = [];
  if (mode === "hex") {
    const step = [32, 24, 16, 8, 4].find((s) => s * 3 <= cells) || 4;
    for (let i = 0; i < n; i += step) list.push(i);
  } else {
    for (let i = 0, used = cells; i < n; ) {
      const [length, point] = charAt(i);
      const w = wide(point) ? 2 : 1;
      if (used + w > cells) { list.push(i); used = 0; }
      used = point === 10 ? cells : used + w;
      i += length;
    }
  }
  starts = Uint32Array.from([...list, n]);
  rows = list.length;
  $("sheet").style.height = Math.max(1, rows) * ROW + "px";
  $("view").classList.toggle("hex", mode === "hex");
  drawn.forEach((row) => row.remove());
  drawn.clear();
  draw();
}
function rowOf(i) {
  let low = 0, high = rows;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= i) low = middle; else high = middle;
  }
  return low;
}
function shadeOf(i, length) {
  if (length === 1) return shade[col[by][i]];
  let sum = 0;
  for (let k = 0; k < length; k++) sum += cost[col[by][i + k]];
  return sum !== sum ? 8 : STEPS.filter((s) => sum / length >= s).length;
}
function drawRow(r) {
  const row = make("div", undefined, "row");
  row.style.top = r * ROW + "px";
  row.append(make("em", String(begin + starts[r])));
  for (let i = starts[r]; i < starts[r + 1]; ) {
    const [length, point] = mode === "hex" ? [1, col.value[i]] : charAt(i);
    const text = mode === "hex" ? point.toString(16).padStart(2, "0") : shownAs(point);
    const cell = make("span", text, "k" + shadeOf(i, length));
    if (mode === "text" && wide(point)) cell.classList.add("w2");
    if (at >= i && at < i + length) cell.classList.add("at");
    cell.dataset.i = i;
    row.append(cell);
    i += length;
  }
  return row;
}
function draw() {
  const view = $("view"), first = Math.max(0, Math.floor(view.scrollTop / ROW) - 8);
  const last = Math.min(rows, Math.ceil((view.scrollTop + view.clientHeight) / ROW) + 8);
  for (const [r, row] of drawn) if (r < first || r >= last) { row.remove(); drawn.delete(r); }
  for (let r = first; r < last; r++) {
    if (!drawn.has(r)) { const row = drawRow(r); drawn.set(r, row); $("sheet").append(row); }
  }
}
function select(i, scroll) {
  if (i < 0 || i >= n) return;
  at = i;
  for (const cell of document.querySelectorAll(".at")) cell.classList.remove("at");
  if (scroll) {
    if (scroll === "far" && phone()) document.querySelector("main").scrollIntoView();
    const view = $("view"), top = rowOf(i) * ROW;
    if (scroll === "far" || top < view.scrollTop || top + ROW > view.scrollTop + view.clientHeight) {
      view.scrollTop = top - view.clientHeight / 3;
    }
    draw();
  }
  const row = drawn.get(rowOf(i));
  if (row) {
    const cells = [...row.querySelectorAll("span")].filter((c) => +c.dataset.i <= i);
    if (cells.length) cells[cells.length - 1].classList.add("at");
  }
  describe(i);
  const here = $("curve").querySelector(".here");
  if (here) here.setAttribute("d", `M${((i + 0.5) / n) * 1000} 0V100`);
}

function table(head, body) {
  const result = make("table"), line = result.appendChild(make("tr"));
  for (const h of head) line.append(make("th", h));
  for (const cells of body) {
    const row = result.appendChild(make("tr"));
    for (const c of cells) row.appendChild(make("td")).append(c);
  }
  return result;
}
function describe(i) {
  const panel = $("panel"), value = col.value[i], flags = col.flags[i], detail = flags & 3;
  const block = about.blocks.find((b) => begin + i < b.end);
  panel.replaceChildren(make("h2", `${nameOf(value)} at ${count(begin + i)}`));
  const [length, point] = charAt(i);
  if (length > 1) panel.append(make("p", `Begins ${shownAs(point)} U+${point.toString(16).toUpperCase().padStart(4, "0")}, ${length} bytes`));
  const said = [["as coded", col.bits], ["network alone", col.network], ["context models alone", col.contexts]];
  panel.append(table(["", "bits"], said.filter((s) => detail || s[1] === col.bits).map(([w, c]) => [w, bits(c[i])])));
  const why = {
    0: `A ${block.kind} block: only its total is known, so every byte has an even share.`,
    2: "Part of an escape that was coded as the character it stands for: an even share of that.",
    3: "Another byte was coded in its place (x86 targets are made absolute); guesses would be of that.",
  }[detail];
  if (why) panel.append(make("p", why, "soft"));
  if (detail !== 1) return;
  if (flags & 8) {
    const before = col.rank[i], put = before ? `${before} ${before === 1 ? "byte" : "bytes"} before it` : "it first";
    panel.append(make("p", `The network put ${put}. Its likeliest bytes:`));
    const lines = [];
    for (let k = 0; k < 5; k++) {
      const q = col.share[k][i];
      if (!q) continue;
      const p = 2 ** (-(q - 1) / 28), bar = make("span", undefined, "bar");
      bar.style.width = 100 * p + "%";
      lines.push([nameOf(col.top[k][i]), (100 * p).toFixed(p < 0.1 ? 1 : 0) + " %", bar, col.top[k][i] === value]);
    }
    const shown = table(["byte", "p", ""], lines.map((l) => l.slice(0, 3)));
    lines.forEach((l, k) => l[3] && shown.rows[k + 1].classList.add("actual"));
    panel.append(shown);
    if (lines.length < 5) panel.append(make("p", "Bytes below 0.2 % are left out.", "soft"));
  } else {
    panel.append(make("p", "The network was not asked here.", "soft"));
  }
  if (flags & 4) {
    const right = col.expected[i] === value, length = col.length[i];
    panel.append(make("p", `The match model expected ${nameOf(col.expected[i])}, ${right ? "rightly" : "wrongly"}, after ${length === 255 ? "255 or more" : length} right bytes.`));
  } else {
    panel.append(make("p", "The match model expected nothing.", "soft"));
  }
}

function link(from, to) {
  const button = make("button", `${count(from)} to ${count(to)}`, "link");
  button.addEventListener("click", () => { pinned = true; select(from - begin, "far"); });
  return button;
}
function snippet(from, to) {
  let text = "";
  for (let i = from - begin; i < to - begin; ) {
    const [length, point] = charAt(i);
    text += shownAs(point);
    i += length;
  }
  return text;
}
function introduce() {
  const t = about.totals, c = t.compared, per = (b) => (c.bytes ? (b / c.bytes).toFixed(4) : "");
  $("name").textContent = about.file;
  const part = n < t.bytes ? `; bytes ${count(begin)} to ${count(end)} are shown` : "";
  $("facts").textContent = `${count(t.bytes)} bytes, ${count(t.archive_bytes)} compressed (${t.bits_per_byte.toFixed(4)} bits a byte; headers ${count(t.header_bytes)} bytes), level ${about.level}, model ${about.model || "none"}${part}`;
  const line = (name, b) => [name, count(Math.ceil(b / 8)), per(b)];
  $("totals").replaceWith(Object.assign(table(["", "bytes", "bits a byte"], c.bytes
    ? [line("network alone", c.network_bits), line("context models alone", c.contexts_bits), line("both, as coded", c.both_bits)]
    : [["payloads", count(t.payload_bytes), t.bytes ? ((8 * t.payload_bytes) / t.bytes).toFixed(4) : ""]]), { id: "totals" }));
  const list = [];
  for (const [name, found] of [["hardest", about.least_predictable], ["easiest", about.most_predictable]]) {
    for (const s of found) list.push([link(s.begin, s.end), name, s.bits_per_byte.toFixed(3), snippet(s.begin, s.end)]);
  }
  $("stretches").querySelector("div").append(list.length ? table(["bytes", "", "bits a byte", "text"], list) : make("p", "No byte is coded one by one here."));
  const blocks = about.blocks.slice(0, 1000).map((b) => [
    b.begin < end && b.end > begin ? link(Math.max(b.begin, begin), Math.min(b.end, end)) : `${count(b.begin)} to ${count(b.end)}`,
    b.kind, count(b.payload_bytes), ((8 * b.payload_bytes) / (b.end - b.begin)).toFixed(3), b.tensors.slice(0, 4).join(", ") + (b.tensors.length > 4 ? " ..." : ""),
  ]);
  $("blocks").querySelector("div").append(table(["bytes", "kind", "payload", "bits a byte", "tensors"], blocks));
  const edges = ["0", ...STEPS.map(String)];
  edges.forEach((e, k) => $("legend").append(make("b", (k ? "\u2265" : "<") + (k ? e : STEPS[0]), "k" + k)));
  $("legend").append(make("b", "none", "k8"));
}
function plot() {
  const svg = $("curve"), c = about.curve, ns = "http://www.w3.org/2000/svg";
  const values = ["bits", "network", "contexts"].flatMap((k) => c[k]).filter((v) => v !== null).sort((a, b) => a - b);
  const high = Math.max(1, Math.min(10, Math.ceil(values[Math.floor(values.length * 0.99)] || 1)));
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const add = (kind, d) => {
    const path = svg.appendChild(document.createElementNS(ns, "path"));
    path.setAttribute("class", kind);
    path.setAttribute("d", d);
  };
  for (let v = 0; v <= high; v++) add("grid", `M0 ${100 - (100 * v) / high}H1000`);
  const keys = [["contexts", "contexts", "context models"], ["network", "network", "network"], ["running", "running", "all so far, as coded"], ["both", "bits", "as coded"]];
  for (const [kind, key, label] of keys) {
    let d = "", open = false;
    c[key].forEach((v, k) => {
      if (v === null) { open = false; return; }
      const x = ((c.begin[k] - begin) / n) * 1000, y = Math.max(0, 100 - (100 * v) / high);
      d += `${open ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      open = true;
    });
    add(kind, d);
    if (d) $("curve-key").append(make("i", undefined, kind), label);
  }
  $("curve-key").append(`; top line: ${high}`);
  add("here", "");
  svg.addEventListener("click", (event) => {
    const box = svg.getBoundingClientRect();
    pinned = true;
    select(Math.max(0, Math.min(n - 1, Math.floor(((event.clientX - box.left) / box.width) * n))), "far");
  });
}
function listen() {
  const view = $("view"), cellAt = (event) => (event.target.dataset && event.target.dataset.i !== undefined ? +event.target.dataset.i : -1);
  let waiting = false;
  view.addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); });
    waiting = true;
  }, { passive: true });
  view.addEventListener("pointerover", (event) => { if (!pinned && event.pointerType === "mouse") select(cellAt(event)); });
  view.addEventListener("click", (event) => { const i = cellAt(event); pinned = i >= 0 && !(pinned && i === at); select(i); });
  view.addEventListener("keydown", (event) => {
    const r = rowOf(Math.max(0, at)), down = starts[Math.min(rows - 1, r + 1)], up = starts[Math.max(0, r - 1)];
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: down, ArrowUp: up }[event.key];
    if (event.key === "Escape") pinned = false;
    if (to === undefined) return;
    event.preventDefault();
    pinned = true;
    select(Math.max(0, Math.min(n - 1, to)), "near");
  });
  $("by").addEventListener("change", () => { by = $("by").value; drawn.forEach((row) => row.remove()); drawn.clear(); draw(); });
  $("mode").value = mode;
  $("mode").addEventListener("change", () => { mode = $("mode").value; again(); });
  $("goto").addEventListener("change", () => { pinned = true; select(Number($("goto").value.replace(/\D/g, "")) - begin, "far"); });
  let width = view.clientWidth;
  new ResizeObserver(() => { if (view.clientWidth !== width) { width = view.clientWidth; again(); } else draw(); }).observe(view);
  for (const id of ["stretches", "blocks"]) $(id).addEventListener("toggle", draw);
}
function again() {
  const top = starts[Math.min(rows, Math.round($("view").scrollTop / ROW))] || 0;
  lay();
  $("view").scrollTop = rowOf(top) * ROW;
  draw();
}
async function start() {
  if (typeof DecompressionStream === "undefined") {
    $("panel").textContent = "This browser is too old for the page: it has no DecompressionStream (2023 and later have).";
    return;
  }
  await load();
  introduce();
  if (n) plot();
  lay();
  listen();
  if (n) select(0); else $("panel").textContent = "There is nothing to show: no bytes.";
  document.documentElement.dataset.ready = "1";
}
start();
