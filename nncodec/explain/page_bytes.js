// Only the rows in sight are in the document. Everything of the file is shown by textContent.
const ROW = 20,
  STEPS = [0.1, 0.3, 0.6, 1, 2, 4, 8];
const about = JSON.parse($("about").textContent);
const [begin, end] = about.range,
  n = end - begin;
const names = ["value", "bits", "network", "contexts", "rank", "expected", "flags", "length"];
const col = {};
let mode = about.text ? "text" : "hex",
  by = "bits",
  starts = new Uint32Array(1),
  rows = 0,
  at = -1,
  pinned = false;
const drawn = new Map();
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
