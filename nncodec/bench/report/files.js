// Bars of each file, a few files at a time: some codecs, each with its bits per byte beside it.
const EACH_FILES = 12,
  MOST_CODECS = 8,
  FIRST_CODECS = 6;
let chosen = new Set(),
  filesAt = 0;

// The baseline and the smallest others, which is also the order of the bars.
function bySize() {
  const size = (t) => (t.files ? (($("model").checked ? t.bitsWithModel : t.bits) ?? Infinity) : Infinity);
  const most = Math.max(0, ...shown.totals.map((t) => t.files));
  const few = (t) => t.files < most / 2;
  return [...shown.totals].sort((a, b) => few(a) - few(b) || size(a) - size(b) || 0);
}
function chooseFirst() {
  const order = bySize()
    .filter((t) => t.files)
    .map((t) => t.codec);
  const others = order.filter((codec) => codec !== shown.baseline);
  chosen = new Set([shown.baseline, ...others].slice(0, FIRST_CODECS));
}
function drawChoice() {
  const set = $("chosen");
  set.replaceChildren(make("legend", `Codecs, up to ${MOST_CODECS}`));
  for (const { codec } of bySize()) {
    const label = set.appendChild(make("label", undefined, "check")),
      box = label.appendChild(make("input"));
    box.type = "checkbox";
    box.checked = chosen.has(codec);
    box.disabled = !box.checked && chosen.size >= MOST_CODECS;
    label.append(" ", make("bdi", cut(nameOf(codec)), isOurs(codec) ? "ours" : ""));
    box.addEventListener("change", () => {
      if (box.checked) chosen.add(codec);
      else chosen.delete(codec);
      drawChoice();
      drawFiles();
      [...set.querySelectorAll("label")]
        .find((l) => l.textContent === label.textContent)
        ?.querySelector("input")
        .focus();
    });
  }
}
// Of quoted figures no model is known: none is counted.
function bitsOf(row) {
  const withModel = $("model").checked ? number(row, "bits_per_byte_with_model") : null;
  return sized(row) ? (withModel ?? number(row, "bits_per_byte")) : null;
}

// Each file with its rows of the codecs that are chosen, and what the baseline gains on the best other.
function fileGroups() {
  const order = bySize()
    .map((t) => t.codec)
    .filter((codec) => chosen.has(codec));
  return [...parted(shown.rows, fileOf).values()].map((rows) => {
    const of = new Map(rows.map((row) => [row.codec, row]));
    const bars = order.map((codec) => ({
      codec,
      row: of.get(codec),
      bits: of.has(codec) ? bitsOf(of.get(codec)) : null,
    }));
    const have = bars.filter((bar) => bar.bits !== null);
    const best = have.length ? Math.min(...have.map((bar) => bar.bits)) : null;
    const base = have.find((bar) => bar.codec === shown.baseline);
    // Another level of ours is a rival only where there is no other.
    const rivals = have.filter((bar) => bar !== base).sort((a, b) => a.bits - b.bits);
    const rival = rivals.find((bar) => !isOurs(bar.codec)) ?? rivals[0];
    const gain = base && rival && rival.bits ? 100 * (1 - base.bits / rival.bits) : null;
    return { name: rows[0].file, size: number(rows[0], "file_bytes"), bars, best, rival, gain };
  });
}
const ORDERS = {
  name: [["name", 1]],
  size: [
    ["size", -1],
    ["name", 1],
  ],
  gain: [
    ["gain", -1],
    ["name", 1],
  ],
};
function drawFiles() {
  const groups = inOrder(
    fileGroups(),
    [{ key: "name", text: true }, { key: "size" }, { key: "gain" }],
    ORDERS[$("order").value],
  );
  filesAt = Math.max(0, Math.min(filesAt, Math.ceil(groups.length / EACH_FILES) - 1));
  const page = groups.slice(filesAt * EACH_FILES, (filesAt + 1) * EACH_FILES);
  // More than 8 bits a byte is more than the file has: bars end there.
  const top = (list) =>
    Math.min(8, Math.max(0.001, ...list.flatMap((g) => g.bars.map((bar) => bar.bits ?? 0))));
  const all = top(groups);
  const none = !chosen.size ? "Choose a codec." : "No file has this in its name.";
  if (!page.length || !chosen.size) $("bars").replaceChildren(make("p", none, "soft empty"));
  else
    $("bars").replaceChildren(...page.map((g) => drawFile(g, $("scale").value === "same" ? all : top([g]))));
  pager($("bars-pager"), chosen.size ? groups.length : 0, EACH_FILES, filesAt, (to) => {
    filesAt = to;
    drawFiles();
  });
}
function drawFile({ name, size, bars, best, rival, gain }, top) {
  const article = make("article"),
    head = article.appendChild(make("h3"));
  head.append(make("bdi", name), make("span", plural(size, "byte"), "soft"));
  const list = article.appendChild(make("ul"));
  for (const { codec, row, bits } of bars) {
    const item = list.appendChild(
      make("li", undefined, (isOurs(codec) ? "ours" : "") + (bits !== null && bits === best ? " best" : "")),
    );
    item.append(make("bdi", nameOf(codec), "codec"));
    item.firstChild.title = codec;
    if (bits === null) {
      const status = !row ? "not measured" : sized(row) ? "empty file" : row.status;
      const why = item.appendChild(make("span", undefined, "why"));
      why.append(
        chip(status, status === "failed" ? "failed" : "absent"),
        make("small", row ? row.detail : ""),
      );
      continue;
    }
    const track = item.appendChild(make("span", undefined, "track")),
      bar = track.appendChild(make("i", undefined, (bits > top ? "cut " : "") + row.status));
    bar.style.width = Math.min(100, (100 * bits) / top) + "%";
    item.append(make("span", bits < 100 ? bits.toFixed(3) : count(Math.round(bits)), "value"));
  }
  if (gain !== null) {
    const more = Math.abs(gain).toFixed(1) + " %";
    const word = more === "0.0 %" ? "as small as" : `${more} ${gain > 0 ? "smaller" : "larger"} than`;
    article.append(make("p", `${cut(nameOf(shown.baseline), 20)}: ${word} ${cut(nameOf(rival.codec), 20)}`, "soft"));
  }
  return article;
}
