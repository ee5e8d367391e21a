// The rows, and their sums by codec: those of nncodec/bench/summary.py, which a test compares.
const about = JSON.parse($("about").textContent);
const everyRow = about.rows.map((cells) =>
  Object.fromEntries(about.columns.map((name, k) => [name, about.texts[cells[k]]])),
);
const SIZED = ["ok", "length", "quoted"];
const sized = (row) => SIZED.includes(row.status);
const number = (row, name) => (row[name] === "" ? null : Number(row[name]));
const fileOf = (row) => row.file_sha256 + " " + row.file;
const sum = (list) => list.reduce((all, x) => all + x, 0);
const isOurs = (codec) => codec === "nncodec" || codec.startsWith("nncodec:");
// What a codec is called: of a command its name alone, unless another command has it, too.
const shortOf = (codec) => (codec.startsWith("cmd:") ? codec.slice(4).split("=")[0] : codec);
const namesShown = new Map();
for (const codec of new Set(everyRow.map((row) => row.codec)))
  namesShown.set(shortOf(codec), namesShown.has(shortOf(codec)) ? null : codec);
const nameOf = (codec) => (namesShown.get(shortOf(codec)) === codec ? shortOf(codec) : codec);

function parted(rows, key) {
  const groups = new Map();
  for (const row of rows) {
    const name = typeof key === "function" ? key(row) : row[key];
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(row);
  }
  return groups;
}
// The first with a size of any file, of nncodec if there is one; what is absent compares with nothing.
function baselineOf(rows) {
  const codecs = [...parted(rows.some(sized) ? rows.filter(sized) : rows, "codec").keys()];
  return codecs.find(isOurs) ?? codecs[0] ?? "";
}
function speedOf(rows, column) {
  if (!rows.length || rows.some((row) => row[column] === "")) return null;
  const seconds = sum(rows.map((row) => number(row, column)));
  return seconds ? sum(rows.map((row) => number(row, "file_bytes"))) / seconds / 1e6 : null;
}
function largest(rows, column) {
  const known = rows.filter((row) => row[column] !== "").map((row) => number(row, column));
  return known.length ? Math.max(...known) : null;
}
const modelOf = (rows) =>
  sum(
    [...parted(rows, "model_id").values()].map(
      (group) => number(group[group.length - 1], "model_bytes") || 0,
    ),
  );

// A codec's bytes on the files of a map of another's, in percent of the other's.
function against(rows, base, withModel) {
  const common = rows.filter((row) => base.has(fileOf(row)));
  const extra = (list) => (withModel ? modelOf(list) : 0);
  const theirs = common.map((row) => base.get(fileOf(row)));
  const bytes = (list) => sum(list.map((row) => number(row, "compressed_bytes"))) + extra(list);
  return bytes(theirs) ? (100 * bytes(common)) / bytes(theirs) : null;
}

// One object a codec: what is in the columns of the totals, null where it is not known. Codecs that
// lack some of the files have sums of fewer files: they are not ``whole``, and never the best.
function totalsOf(rows, baseline, withModel) {
  const base = new Map();
  for (const row of rows) if (row.codec === baseline && sized(row)) base.set(fileOf(row), row);
  const files = new Set(rows.filter(sized).map(fileOf)).size;
  const totals = [...parted(rows, "codec")].map(([codec, group]) => {
    const have = group.filter(sized);
    const bytes = sum(have.map((row) => number(row, "file_bytes")));
    const packed = sum(have.map((row) => number(row, "compressed_bytes")));
    const model = modelOf(have);
    const counted = packed + (withModel ? model : 0);
    return {
      codec,
      files: have.length,
      whole: have.length === files && files > 0,
      bytes,
      compressed: have.length ? packed : null,
      counted: have.length ? counted : null,
      model,
      bits: bytes ? (8 * packed) / bytes : null,
      bitsWithModel: bytes ? (8 * (packed + model)) / bytes : null,
      ratio: bytes && counted ? bytes / counted : null,
      compress: speedOf(have, "compress_seconds"),
      decompress: speedOf(have, "decompress_seconds"),
      compressPeak: largest(have, "compress_peak_mb"),
      decompressPeak: largest(have, "decompress_peak_mb"),
      against: against(have, base, withModel),
      absent: group.find((row) => row.status === "absent")?.detail ?? "",
      absentRows: group.filter((row) => row.status === "absent").length,
      failed: group.filter((row) => row.status === "failed").length,
      failure: group.find((row) => row.status === "failed")?.detail ?? "",
      quoted: group.filter((row) => row.status === "quoted").length,
      lengths: group.filter((row) => row.status === "length").length,
      percent: against(have, base, false),
    };
  });
  return placed(totals, baseline, withModel);
}
// Where a codec stands among the others. One of fewer files stands where its size on those, against
// the baseline's, would put it if it had all: sums of other files say nothing.
function placed(totals, baseline, withModel) {
  const base = totals.find((t) => t.codec === baseline);
  for (const t of totals) {
    const all = t.whole || !base?.whole || t.percent === null;
    const bytes = all ? t.bytes : base.bytes,
      packed = all ? t.compressed : (base.compressed * t.percent) / 100;
    const counted = packed + (withModel ? t.model : 0);
    t.placedBits = bytes && t.files ? (8 * counted) / bytes : null;
    t.placedRatio = bytes && t.files && counted ? bytes / counted : null;
  }
  return totals;
}

// What is shown of numbers; "" of what is not known.
const MINUS = "\u2212";
const known = (show) => (x) => (x === null || Number.isNaN(x) ? "" : show(x));
const inWords = {
  count: known((x) => count(x)),
  bits: known((x) => x.toFixed(x < 100 ? 4 : 1)),
  ratio: known((x) => x.toFixed(3)),
  // Three digits, whatever the speed.
  speed: known((x) => (x >= 100 ? count(Math.round(x)) : x >= 0.01 ? x.toPrecision(3) : x.toPrecision(2))),
  memory: known((x) => (x >= 99.5 ? count(Math.round(x)) : x.toFixed(1))),
  load: known((x) => x.toFixed(1)),
  // Of 103.2 % of the baseline's bytes: 3.2 % more.
  percent: known((x) => {
    const more =
      Math.abs(x - 100) >= 999.5 ? count(Math.round(Math.abs(x - 100))) : Math.abs(x - 100).toFixed(1);
    return more === "0.0" ? "0.0 %" : (x < 100 ? MINUS : "+") + more + " %";
  }),
};
const cut = (text, most = 26) => (text.length > most ? text.slice(0, most - 1) + "\u2026" : text);
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
