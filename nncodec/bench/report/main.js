// What is chosen, what follows from it, and what is said above and below.
const shown = { rows: [], totals: [], files: 0, baseline: "" };
const machines = parted(everyRow, "machine");

function choose() {
  const machine = machines.get($("machine").value) ?? [];
  const part = $("filter").value.toLowerCase();
  shown.baseline = baselineOf(machine);
  shown.rows = machine.filter((row) => row.file.toLowerCase().includes(part));
  if ($("common").checked) {
    const codecs = [...parted(shown.rows.filter(sized), "codec").values()].map(
      (rows) => new Set(rows.map(fileOf)),
    );
    shown.rows = shown.rows.filter((row) => codecs.every((files) => files.has(fileOf(row))));
  }
  shown.totals = totalsOf(shown.rows, shown.baseline, $("model").checked);
  shown.files = new Set(shown.rows.filter(sized).map(fileOf)).size;
  const all = parted(machine, fileOf).size,
    files = [...parted(shown.rows, fileOf).values()];
  const bytes = count(sum(files.map((rows) => number(rows[0], "file_bytes"))));
  $("counted").textContent =
    `${files.length === all ? "" : `${count(files.length)} of `}${plural(all, "file")}, ${bytes} bytes`;
}
function drawAll() {
  choose();
  drawTotals();
  drawPareto();
  drawChoice();
  drawFiles();
  drawRows();
}
function changeMachine() {
  filesAt = rowsAt = 0;
  choose();
  chooseFirst();
  introduce();
  drawAll();
}

const distinct = (rows, column) => [...new Set(rows.map((row) => row[column]))].filter(Boolean);
function introduce() {
  const rows = machines.get($("machine").value) ?? [],
    files = [...parted(rows, fileOf).values()];
  const bytes = sum(files.map((group) => number(group[0], "file_bytes")));
  const codecs = distinct(rows, "codec").length;
  const having = (status) => rows.filter((row) => row.status === status).length;
  const lead = [`${plural(files.length, "file")} of ${count(bytes)} bytes`, plural(codecs, "codec")];
  if (having("ok")) lead.push(`every round trip${having("quoted") ? " measured here" : ""} compared`);
  if (having("quoted")) lead.push(`${plural(having("quoted"), "size")} quoted`);
  $("lead").textContent = lead.join(", ");
  const days = distinct(rows, "date")
    .map((date) => date.replace("T", " ").slice(0, 16))
    .sort();
  const facts = [
    ["Machine", distinct(rows, "machine").join("; ")],
    [
      "Memory",
      distinct(rows, "memory_gb")
        .map((gb) => gb + " GB")
        .join("; "),
    ],
    ["System", distinct(rows, "system").join("; ")],
    [
      "Versions",
      [
        ...distinct(rows, "version").map((v) => "nncodec " + v),
        ...distinct(rows, "python").map((v) => "Python " + v),
      ].join(", "),
    ],
    [
      "Measured",
      days.length ? (days.length > 1 ? `${days[0]} to ${days[days.length - 1]}` : days[0]) + " UTC" : "",
    ],
    ["Load", loadOf(rows)],
  ];
  $("facts").replaceChildren();
  for (const [name, value] of facts) if (value) $("facts").append(make("dt", name), make("dd", value));
  drawVersions(rows);
  drawNotes(rows);
}
// Busy: more processes wanted a core than there are.
function loadOf(rows) {
  const timed = rows.filter((row) => row.load !== "" && row.compress_seconds !== "");
  const loads = timed.map((row) => number(row, "load")).sort((a, b) => a - b);
  if (!loads.length) return "";
  const busy = timed.filter((row) => number(row, "load") > number(row, "cores")).length;
  const range = `${loads[0].toFixed(1)} to ${loads[loads.length - 1].toFixed(1)}, median ${loads[loads.length >> 1].toFixed(1)}, of ${plural(Number(timed[0].cores), "core")}`;
  return (
    range +
    (busy
      ? `; busy at ${count(busy)} of ${plural(timed.length, "row")}: speeds there may be too low`
      : "; never busy")
  );
}
function drawVersions(rows) {
  const table = make("table");
  for (const [codec, group] of parted(rows, "codec")) {
    const versions = distinct(group, "codec_version");
    if (!versions.length) continue;
    const tr = table.appendChild(make("tr"));
    tr.append(make("th"), make("td", versions.join("; ")));
    tr.firstChild.append(make("bdi", codec));
  }
  $("versions").hidden = !table.rows.length;
  $("versions").querySelector("div").replaceChildren(table);
}
function drawNotes(rows) {
  const has = (status) => rows.filter((row) => row.status === status);
  const notes = [
    "Bytes are of the whole archive, headers and all. The model is what the other side must have besides: weights or a dictionary. Totals count it once, bars and rows with each file.",
  ];
  if (has("ok").length) {
    const runs = distinct(has("ok"), "compress_runs")
      .map(Number)
      .sort((a, b) => a - b);
    const times =
      runs.length > 1
        ? `${runs[0]} to ${runs[runs.length - 1]} runs`
        : runs.length
          ? plural(runs[0], "run")
          : "";
    notes.push(
      `Every archive made here was decompressed and compared with its file. Times are medians${times ? ` of ${times}` : ""}, warm-ups not counted; a total's speed is all bytes by the sum of those. MB are 10\u2076 bytes, of the file.`,
      "Peak memory is resident memory of the whole process; a total has the largest of its files.",
    );
  }
  notes.push(
    "Codecs without all files have sums of fewer. They cannot be the best of a column, nor on the line of the best; tick \u201ccommon files only\u201d to compare all on the same files. In the plot they stand where their size on those, against the baseline's, would put them.",
  );
  if (has("length").length)
    notes.push("Code length: what an archive would have, of a codec that makes none; rounded up to bytes.");
  for (const [status, lead] of [
    ["quoted", "Quoted, not measured here"],
    ["absent", "Absent here"],
    ["failed", "Failed"],
  ])
    for (const [codec, group] of parted(has(status), "codec")) {
      const why = distinct(group, "detail");
      notes.push(
        `${lead}: ${nameOf(codec)}, ${plural(group.length, "file")}${why.length ? `: ${why.slice(0, 3).join("; ")}` : ""}${why.length > 3 ? ` and ${why.length - 3} more` : ""}`,
      );
    }
  $("notes").replaceChildren(...notes.map((note) => make("li", note)));
}
async function copyCommand() {
  let done = true;
  try {
    await navigator.clipboard.writeText(about.command);
  } catch {
    getSelection().selectAllChildren($("command").querySelector("pre"));
    done = document.execCommand("copy");
  }
  $("copy").textContent = done ? "Copied" : "Press Ctrl+C";
  setTimeout(() => ($("copy").textContent = "Copy"), 2000);
}
function start() {
  const order = [...machines].sort((a, b) => b[1].length - a[1].length);
  for (const [machine, rows] of order)
    $("machine").append(new Option(`${machine || "not known"} (${plural(rows.length, "row")})`, machine));
  $("machine-label").hidden = machines.size < 2;
  $("command").querySelector("pre").textContent = about.command;
  $("command").hidden = !about.command;
  $("status").append(
    new Option("any", ""),
    ...distinct(everyRow, "status").map((status) => new Option(status, status)),
  );
  $("machine").addEventListener("change", changeMachine);
  for (const id of ["common", "model"]) $(id).addEventListener("change", drawAll);
  $("filter").addEventListener("input", drawAll);
  for (const id of ["speed", "size"]) $(id).addEventListener("change", drawPareto);
  for (const id of ["order", "scale"]) $(id).addEventListener("change", drawFiles);
  for (const [id, event] of [
    ["row-filter", "input"],
    ["status", "change"],
  ])
    $(id).addEventListener(event, drawRows);
  $("copy").addEventListener("click", copyCommand);
  let width = 0;
  new ResizeObserver(() => {
    const now = $("pareto").clientWidth;
    if (now !== width) drawPareto();
    width = now;
  }).observe($("pareto"));
  changeMachine();
  width = $("pareto").clientWidth;
  document.documentElement.dataset.ready = "1";
}
start();
