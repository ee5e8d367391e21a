// Tables that sort by any column, by mouse and keyboard, and pages of long lists.
const collator = new Intl.Collator("en", { numeric: true });

// ``columns``: {key, label, show, text, hint}; ``sorted`` is the state: [key, 1 or -1], the latest
// first, so that equals stay in the order before. Cells are what ``cell`` makes of a row and column.
function sortableTable(place, columns, rows, sorted, cell, again) {
  const table = make("table"),
    line = table.appendChild(make("thead")).appendChild(make("tr"));
  for (const column of columns) {
    const th = line.appendChild(make("th", undefined, column.text ? "text" : ""));
    th.scope = "col";
    const button = th.appendChild(make("button", column.label, "sort"));
    button.type = "button";
    button.dataset.key = column.key;
    if (column.hint) button.title = column.hint;
    const first = sorted[0] && sorted[0][0] === column.key ? sorted[0][1] : 0;
    if (first) th.setAttribute("aria-sort", first > 0 ? "ascending" : "descending");
    button.addEventListener("click", () => {
      const others = sorted.filter(([key]) => key !== column.key);
      sorted.splice(0, sorted.length, [column.key, first > 0 ? -1 : 1], ...others);
      again();
      place.querySelector(`button[data-key="${column.key}"]`).focus();
    });
  }
  const body = table.appendChild(make("tbody"));
  for (const row of rows) {
    const tr = body.appendChild(make("tr"));
    columns.forEach((column, k) => {
      const td = tr.appendChild(make(k ? "td" : "th", undefined, column.text ? "text" : ""));
      if (!k) td.scope = "row";
      cell(td, row, column);
    });
  }
  const left = place.scrollLeft;
  place.replaceChildren(table);
  place.scrollLeft = left;
}
// What is not known comes last, whichever way.
function inOrder(rows, columns, sorted) {
  const kinds = new Map(columns.map((column) => [column.key, column]));
  return rows
    .map((row, k) => [row, k])
    .sort(([a, i], [b, j]) => {
      for (const [key, way] of sorted) {
        const { text, value = (row) => row[key] } = kinds.get(key);
        const x = value(a),
          y = value(b),
          gone = (v) => v === null || v === "";
        if (gone(x) || gone(y)) {
          if (gone(x) !== gone(y)) return gone(x) ? 1 : -1;
          continue;
        }
        const difference = text ? collator.compare(x, y) : x - y;
        if (difference) return way * difference;
      }
      return i - j;
    })
    .map(([row]) => row);
}
function pager(place, all, each, at, go) {
  const pages = Math.max(1, Math.ceil(all / each));
  place.hidden = pages === 1;
  const step = (label, to, hint) => {
    const button = make("button", label);
    button.type = "button";
    button.dataset.step = hint;
    button.disabled = to < 0 || to >= pages;
    button.addEventListener("click", () => {
      go(to);
      const same = place.querySelector(`[data-step="${hint}"]`);
      (same.disabled ? place.querySelector("button:enabled") : same)?.focus();
    });
    return button;
  };
  const said = `${count(at * each + 1)} to ${count(Math.min(all, (at + 1) * each))} of ${count(all)}`;
  const where = make("span", said);
  where.setAttribute("role", "status");
  place.replaceChildren(step("\u2190 Back", at - 1, "back"), where, step("Next \u2192", at + 1, "next"));
}
// Long names may break after what parts them.
function breakable(element, text) {
  for (const part of text.split(/(?<=[:=/_])/)) element.append(part, make("wbr"));
  element.lastChild?.remove();
  return element;
}
function named(codec) {
  const name = breakable(make("bdi", undefined, isOurs(codec) ? "ours" : ""), nameOf(codec));
  if (nameOf(codec) !== codec) name.title = codec;
  return name;
}
const chip = (text, kind) => make("span", text, "chip " + kind);

// The totals.
const totalsSorted = [["against", 1]];
function totalsColumns() {
  const base = nameOf(shown.baseline);
  const withModel = $("model").checked ? ", the model counted" : "";
  return [
    { key: "codec", label: "Codec", text: true, value: (row) => nameOf(row.codec) },
    { key: "files", label: "Files", show: inWords.count },
    { key: "counted", label: "Bytes", show: inWords.count, best: -1, hint: "compressed" + withModel },
    { key: "bits", label: "Bits/byte", show: inWords.bits, best: -1, hint: "the model not counted" },
    {
      key: "bitsWithModel",
      label: "with model",
      show: inWords.bits,
      best: -1,
      hint: "bits per byte, the model counted once",
    },
    { key: "ratio", label: "Ratio", show: inWords.ratio, best: 1, hint: "bytes in to bytes out" + withModel },
    { key: "compress", label: "MB/s in", show: inWords.speed, best: 1, hint: "compressing" },
    { key: "decompress", label: "MB/s out", show: inWords.speed, best: 1, hint: "decompressing" },
    {
      key: "compressPeak",
      label: "Peak MB in",
      show: inWords.memory,
      best: -1,
      hint: "memory when compressing",
    },
    {
      key: "decompressPeak",
      label: "Peak MB out",
      show: inWords.memory,
      best: -1,
      hint: "memory when decompressing",
    },
    {
      key: "against",
      label: `against ${cut(base, 16)}`,
      show: inWords.percent,
      hint: `size, on the files that ${base} has too` + withModel,
    },
  ];
}
function drawTotals() {
  const columns = totalsColumns(),
    rows = inOrder(shown.totals, columns, totalsSorted);
  const best = new Map();
  for (const { key, best: way } of columns) {
    const values = rows.filter((t) => t.whole && t[key] !== null).map((t) => t[key]);
    if (way && values.length > 1) best.set(key, way > 0 ? Math.max(...values) : Math.min(...values));
  }
  const cell = (td, total, { key, show }) => {
    if (key === "codec") return nameCodec(td, total);
    td.textContent = show(total[key]) || "\u2013";
    if (key === "files" && !total.whole && total.files)
      td.textContent = `${count(total.files)} of ${count(shown.files)}`;
    if (total.whole && best.get(key) === total[key]) {
      td.classList.add("best");
      td.append(make("span", " best", "unseen"));
    }
  };
  sortableTable($("totals"), columns, rows, totalsSorted, cell, drawTotals);
  const some = rows.filter((t) => t.files && !t.whole);
  const note = some.length
    ? ` ${some.map((t) => cut(nameOf(t.codec))).join(", ")}: sums of fewer files, which compare with others only in the last column.`
    : "";
  $("totals-note").textContent = rows.length
    ? "Bold: the best of those that have all files." + note
    : "No row is left.";
}
function nameCodec(td, total) {
  td.append(named(total.codec));
  const say = (label, kind, why) => {
    td.append(" ", chip(label, kind));
    if (why) td.append(make("small", why));
  };
  if (total.quoted) say("quoted", "quoted");
  if (total.lengths) say("code length", "length");
  const times = (label, n) => (n > 1 && total.files ? `${label} ${n}\u00d7` : label);
  if (total.absentRows) say(times("absent", total.absentRows), "absent", total.absent);
  if (total.failed) say(times("failed", total.failed), "failed", total.failure);
}

// All rows, a hundred at a time.
const EACH_ROWS = 100;
const rowsSorted = [];
let rowsAt = 0;
const rowValue = (key) => (row) => number(row, key);
const ROW_COLUMNS = [
  { key: "file", label: "File", text: true },
  { key: "codec", label: "Codec", text: true, value: (row) => nameOf(row.codec) },
  { key: "status", label: "Status", text: true },
  ...[
    ["file_bytes", "Bytes in", "count"],
    ["compressed_bytes", "Bytes out", "count"],
    ["bits_per_byte", "Bits/byte", "bits"],
    ["bits_per_byte_with_model", "with model", "bits", "bits per byte, the model counted with this file"],
    ["ratio", "Ratio", "ratio"],
    ["compress_mb_s", "MB/s in", "speed", "compressing"],
    ["decompress_mb_s", "MB/s out", "speed", "decompressing"],
    ["compress_peak_mb", "Peak MB in", "memory"],
    ["decompress_peak_mb", "Peak MB out", "memory"],
    ["compress_runs", "Runs in", "count"],
    ["decompress_runs", "Runs out", "count"],
    ["threads", "Threads", "count"],
    ["load", "Load", "load", "processes that wanted a core, a minute before"],
  ].map(([key, label, how, hint]) => ({ key, label, show: inWords[how], value: rowValue(key), hint })),
  { key: "date", label: "Date", text: true },
];

function drawRows() {
  const words = $("row-filter").value.toLowerCase().split(/\s+/).filter(Boolean),
    status = $("status").value;
  const fits = (row) => {
    const text = [row.file, row.codec, row.status, row.detail].join(" ").toLowerCase();
    return (!status || row.status === status) && words.every((word) => text.includes(word));
  };
  const rows = inOrder(shown.rows.filter(fits), ROW_COLUMNS, rowsSorted);
  rowsAt = Math.max(0, Math.min(rowsAt, Math.ceil(rows.length / EACH_ROWS) - 1));
  const cell = (td, row, { key, show }) => {
    if (key === "status") {
      if (row.status === "ok") td.textContent = "ok";
      else td.append(chip(row.status, row.status));
      if (row.detail) td.append(make("small", row.detail));
    } else if (key === "date") td.textContent = row.date.replace("T", " ").replace(/(:\d\d):\d\d.*$/, "$1");
    else if (show) td.textContent = show(number(row, key));
    else td.append(key === "codec" ? named(row.codec) : breakable(make("bdi"), row[key]));
  };
  const page = rows.slice(rowsAt * EACH_ROWS, (rowsAt + 1) * EACH_ROWS);
  const again = () => {
    rowsAt = 0;
    drawRows();
  };
  if (rows.length) sortableTable($("rows"), ROW_COLUMNS, page, rowsSorted, cell, again);
  else $("rows").replaceChildren(make("p", "No row has all of that.", "soft empty"));
  pager($("rows-pager"), rows.length, EACH_ROWS, rowsAt, (to) => {
    rowsAt = to;
    drawRows();
  });
}
