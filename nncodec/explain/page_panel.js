// What is said: of a byte in the panel, of the file above it; and what the controls do.
function table(head, body) {
  const result = make("table"),
    line = result.appendChild(make("tr"));
  for (const h of head) line.append(make("th", h));
  for (const cells of body) {
    const row = result.appendChild(make("tr"));
    for (const c of cells) row.appendChild(make("td")).append(c);
  }
  return result;
}
function describe(i) {
  const panel = $("panel"),
    value = col.value[i],
    flags = col.flags[i],
    detail = flags & 3;
  const block = about.blocks.find((b) => begin + i < b.end);
  panel.replaceChildren(make("h2", `${nameOf(value)} at ${count(begin + i)}`));
  const [length, point] = charAt(i);
  if (length > 1)
    panel.append(
      make(
        "p",
        `Begins ${shownAs(point)} U+${point.toString(16).toUpperCase().padStart(4, "0")}, ${length} bytes`,
      ),
    );
  const said = [
    ["as coded", col.bits],
    ["network alone", col.network],
    ["context models alone", col.contexts],
  ];
  panel.append(
    table(
      ["", "bits"],
      said.filter((s) => detail || s[1] === col.bits).map(([w, c]) => [w, bits(c[i])]),
    ),
  );
  const why = {
    0: `A ${block.kind} block: only its total is known, so every byte has an even share.`,
    2: "Part of an escape that was coded as the character it stands for: an even share of that.",
    3: "Another byte was coded in its place (x86 targets are made absolute); guesses would be of that.",
  }[detail];
  if (why) panel.append(make("p", why, "soft"));
  if (detail !== 1) return;
  if (flags & 8) {
    const before = col.rank[i],
      put = before ? `${before} ${before === 1 ? "byte" : "bytes"} before it` : "it first";
    panel.append(make("p", `The network put ${put}. Its likeliest bytes:`));
    const lines = [];
    for (let k = 0; k < 5; k++) {
      const q = col.share[k][i];
      if (!q) continue;
      const p = 2 ** (-(q - 1) / 28),
        bar = make("span", undefined, "bar");
      bar.style.width = 100 * p + "%";
      lines.push([
        nameOf(col.top[k][i]),
        (100 * p).toFixed(p < 0.1 ? 1 : 0) + " %",
        bar,
        col.top[k][i] === value,
      ]);
    }
    const shown = table(
      ["byte", "p", ""],
      lines.map((l) => l.slice(0, 3)),
    );
    lines.forEach((l, k) => l[3] && shown.rows[k + 1].classList.add("actual"));
    panel.append(shown);
    if (lines.length < 5) panel.append(make("p", "Bytes below 0.2 % are left out.", "soft"));
  } else {
    panel.append(make("p", "The network was not asked here.", "soft"));
  }
  if (flags & 4) {
    const right = col.expected[i] === value,
      length = col.length[i];
    panel.append(
      make(
        "p",
        `The match model expected ${nameOf(col.expected[i])}, ${right ? "rightly" : "wrongly"}, after ${length === 255 ? "255 or more" : length} right bytes.`,
      ),
    );
  } else {
    panel.append(make("p", "The match model expected nothing.", "soft"));
  }
}

function link(from, to) {
  const button = make("button", `${count(from)} to ${count(to)}`, "link");
  button.addEventListener("click", () => {
    pinned = true;
    select(from - begin, "far");
  });
  return button;
}
function snippet(from, to) {
  let text = "";
  for (let i = from - begin; i < to - begin;) {
    const [length, point] = charAt(i);
    text += shownAs(point);
    i += length;
  }
  return text;
}
function introduce() {
  const t = about.totals,
    c = t.compared,
    per = (b) => (c.bytes ? (b / c.bytes).toFixed(4) : "");
  $("name").textContent = about.file;
  const part = n < t.bytes ? `; bytes ${count(begin)} to ${count(end)} are shown` : "";
  $("facts").textContent =
    `${count(t.bytes)} bytes, ${count(t.archive_bytes)} compressed (${t.bits_per_byte.toFixed(4)} bits a byte; headers ${count(t.header_bytes)} bytes), level ${about.level}, model ${about.model || "none"}${part}`;
  const line = (name, b) => [name, count(Math.ceil(b / 8)), per(b)];
  $("totals").replaceWith(
    Object.assign(
      table(
        ["", "bytes", "bits a byte"],
        c.bytes
          ? [
              line("network alone", c.network_bits),
              line("context models alone", c.contexts_bits),
              line("both, as coded", c.both_bits),
            ]
          : [
              [
                "payloads",
                count(t.payload_bytes),
                t.bytes ? ((8 * t.payload_bytes) / t.bytes).toFixed(4) : "",
              ],
            ],
      ),
      { id: "totals" },
    ),
  );
  const list = [];
  for (const [name, found] of [
    ["hardest", about.least_predictable],
    ["easiest", about.most_predictable],
  ]) {
    for (const s of found)
      list.push([link(s.begin, s.end), name, s.bits_per_byte.toFixed(3), snippet(s.begin, s.end)]);
  }
  $("stretches")
    .querySelector("div")
    .append(
      list.length
        ? table(["bytes", "", "bits a byte", "text"], list)
        : make("p", "No byte is coded one by one here."),
    );
  const blocks = about.blocks
    .slice(0, 1000)
    .map((b) => [
      b.begin < end && b.end > begin
        ? link(Math.max(b.begin, begin), Math.min(b.end, end))
        : `${count(b.begin)} to ${count(b.end)}`,
      b.kind,
      count(b.payload_bytes),
      ((8 * b.payload_bytes) / (b.end - b.begin)).toFixed(3),
      b.tensors.slice(0, 4).join(", ") + (b.tensors.length > 4 ? " ..." : ""),
    ]);
  $("blocks")
    .querySelector("div")
    .append(table(["bytes", "kind", "payload", "bits a byte", "tensors"], blocks));
  const edges = ["0", ...STEPS.map(String)];
  edges.forEach((e, k) => $("legend").append(make("b", (k ? "\u2265" : "<") + (k ? e : STEPS[0]), "k" + k)));
  $("legend").append(make("b", "none", "k8"));
}
function plot() {
  const svg = $("curve"),
    c = about.curve,
    ns = "http://www.w3.org/2000/svg";
  const values = ["bits", "network", "contexts"]
    .flatMap((k) => c[k])
    .filter((v) => v !== null)
    .sort((a, b) => a - b);
  const high = Math.max(1, Math.min(10, Math.ceil(values[Math.floor(values.length * 0.99)] || 1)));
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  const add = (kind, d) => {
    const path = svg.appendChild(document.createElementNS(ns, "path"));
    path.setAttribute("class", kind);
    path.setAttribute("d", d);
  };
  for (let v = 0; v <= high; v++) add("grid", `M0 ${100 - (100 * v) / high}H1000`);
  const keys = [
    ["contexts", "contexts", "context models"],
    ["network", "network", "network"],
    ["running", "running", "all so far, as coded"],
    ["both", "bits", "as coded"],
  ];
  for (const [kind, key, label] of keys) {
    let d = "",
      open = false;
    c[key].forEach((v, k) => {
      if (v === null) {
        open = false;
        return;
      }
      const x = ((c.begin[k] - begin) / n) * 1000,
        y = Math.max(0, 100 - (100 * v) / high);
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
  const view = $("view"),
    cellAt = (event) =>
      event.target.dataset && event.target.dataset.i !== undefined ? +event.target.dataset.i : -1;
  let waiting = false;
  view.addEventListener(
    "scroll",
    () => {
      if (!waiting)
        requestAnimationFrame(() => {
          waiting = false;
          draw();
        });
      waiting = true;
    },
    { passive: true },
  );
  view.addEventListener("pointerover", (event) => {
    if (!pinned && event.pointerType === "mouse") select(cellAt(event));
  });
  view.addEventListener("click", (event) => {
    const i = cellAt(event);
    pinned = i >= 0 && !(pinned && i === at);
    select(i);
  });
  view.addEventListener("keydown", (event) => {
    const r = rowOf(Math.max(0, at)),
      down = starts[Math.min(rows - 1, r + 1)],
      up = starts[Math.max(0, r - 1)];
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: down, ArrowUp: up }[event.key];
    if (event.key === "Escape") pinned = false;
    if (to === undefined) return;
    event.preventDefault();
    pinned = true;
    select(Math.max(0, Math.min(n - 1, to)), "near");
  });
  $("by").addEventListener("change", () => {
    by = $("by").value;
    drawn.forEach((row) => row.remove());
    drawn.clear();
    draw();
  });
  $("mode").value = mode;
  $("mode").addEventListener("change", () => {
    mode = $("mode").value;
    again();
  });
  $("goto").addEventListener("change", () => {
    pinned = true;
    select(Number($("goto").value.replace(/\D/g, "")) - begin, "far");
  });
  let width = view.clientWidth;
  new ResizeObserver(() => {
    if (view.clientWidth !== width) {
      width = view.clientWidth;
      again();
    } else draw();
  }).observe(view);
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
    $("panel").textContent =
      "This browser is too old for the page: it has no DecompressionStream (2023 and later have).";
    return;
  }
  await load();
  introduce();
  if (n) plot();
  lay();
  listen();
  if (n) select(0);
  else $("panel").textContent = "There is nothing to show: no bytes.";
  document.documentElement.dataset.ready = "1";
}
start();
