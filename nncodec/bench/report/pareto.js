// Size against speed: a point a codec, a line for those without a speed, a step line of the best.
const SVG = "http://www.w3.org/2000/svg";
function drawn(place, tag, attributes, text) {
  const element = place.appendChild(document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}
const isLog = (low, high) => low > 0 && high / low > 6;

// From values to pixels. Margins are in pixels, so that nothing sits on the frame.
function scaleOf(values, log, from, to, margin) {
  const f = log ? Math.log10 : (v) => v;
  let low = f(Math.min(...values)),
    high = f(Math.max(...values));
  if (high - low < (log ? 0.1 : 1e-3 * Math.abs(high))) {
    const more = log ? 0.3 : 0.1 * Math.abs(high) || 1;
    low -= more;
    high += more;
  }
  const sign = Math.sign(to - from),
    a = from + sign * margin,
    k = (to - sign * margin - a) / (high - low);
  const back = (pixel) => (log ? 10 ** (low + (pixel - a) / k) : low + (pixel - a) / k);
  return { at: (v) => a + k * (f(v) - low), log, low: back(from), high: back(to) };
}
// Round values within a scale, at least ``gap`` pixels apart.
function ticksOf(scale, gap) {
  const { low, high } = scale;
  const found = [];
  if (scale.log) {
    for (const steps of [[1, 1.5, 2, 3, 4, 5, 6, 8], [1, 2, 5], [1]]) {
      found.length = 0;
      for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
        for (const s of steps) if (s * 10 ** e >= low && s * 10 ** e <= high) found.push(Number(`${s}e${e}`));
      const near = found.slice(1).some((v, k) => Math.abs(scale.at(v) - scale.at(found[k])) < gap);
      if (!near) break;
    }
    return found;
  }
  const room = Math.max(2, Math.abs(scale.at(high) - scale.at(low)) / gap);
  const unit = 10 ** Math.floor(Math.log10((high - low) / room));
  const step = unit * ([1, 2, 5, 10].find((s) => (high - low) / (s * unit) <= room) ?? 10);
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(Number((k * step).toPrecision(10)));
  return found;
}
const onTick = (v) => v.toLocaleString("en-US", { maximumFractionDigits: 6 });

function axesOf() {
  const bits = $("size").value === "bits";
  return {
    speed: $("speed").value,
    x: (t) => t[$("speed").value],
    y: (t) => (bits ? t.placedBits : t.placedRatio),
    better: bits ? -1 : 1,
    xName: `MB/s, ${$("speed").value === "compress" ? "compressing" : "decompressing"}`,
    yName: (bits ? "bits per byte" : "ratio") + ($("model").checked ? ", the model counted" : ""),
    show: bits ? inWords.bits : inWords.ratio,
  };
}
// Those that no other beats in both, the fastest first. Sums of fewer files do not compete.
function frontierOf(points, axes) {
  const better = (a, b) => axes.better * (axes.y(a) - axes.y(b));
  const whole = points.filter((t) => t.whole).sort((a, b) => axes.x(b) - axes.x(a) || better(b, a));
  const front = [];
  for (const t of whole) if (!front.length || better(t, front[front.length - 1]) > 0) front.push(t);
  return front;
}
function labelOf(t) {
  if (t.whole) return cut(nameOf(t.codec), phone() ? 16 : 26);
  return `${cut(nameOf(t.codec), phone() ? 14 : 26)} (${t.files}${phone() ? "/" : " of "}${shown.files})`;
}

function drawPareto() {
  const place = $("pareto").querySelector(".canvas"),
    axes = axesOf();
  hideTip();
  const sizedTotals = shown.totals.filter((t) => t.files && axes.y(t) !== null);
  const points = sizedTotals.filter((t) => axes.x(t) !== null),
    lines = sizedTotals.filter((t) => axes.x(t) === null);
  $("pareto-key").replaceChildren();
  if (!sizedTotals.length) {
    place.replaceChildren(make("p", "No codec has a size for these files.", "soft empty"));
    return;
  }
  const width = Math.max(280, place.clientWidth),
    height = Math.round(Math.max(400, Math.min(540, width * 0.5)));
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", `${axes.yName} against ${axes.xName}`);
  place.replaceChildren(svg);
  const frame = { x: phone() ? 40 : 52, y: 26, w: 0, h: 0 };
  frame.w = width - frame.x - 6;
  frame.h = height - frame.y - 42;
  const bottom = frame.y + frame.h,
    right = frame.x + frame.w;
  const speeds = points.length ? points.map(axes.x) : [1];
  const sizes = sizedTotals.map(axes.y);
  const X = scaleOf(speeds, true, frame.x, right, phone() ? 26 : 48);
  const Y = scaleOf(sizes, isLog(Math.min(...sizes), Math.max(...sizes)), bottom, frame.y, 26);

  for (const v of points.length ? ticksOf(X, 46) : []) {
    drawn(svg, "path", { class: "grid", d: `M${X.at(v)} ${frame.y}V${bottom}` });
    drawn(svg, "text", { class: "tick", x: X.at(v), y: bottom + 16, "text-anchor": "middle" }, onTick(v));
  }
  for (const v of ticksOf(Y, 38)) {
    drawn(svg, "path", { class: "grid", d: `M${frame.x} ${Y.at(v)}H${right}` });
    drawn(svg, "text", { class: "tick", x: frame.x - 6, y: Y.at(v) + 4, "text-anchor": "end" }, onTick(v));
  }
  drawn(svg, "path", { class: "axis", d: `M${frame.x} ${frame.y}V${bottom}H${right}` });
  drawn(
    svg,
    "text",
    { class: "name", x: 0, y: 14 },
    `${axes.better < 0 ? "\u2193" : "\u2191"} ${axes.yName}`,
  );
  drawn(
    svg,
    "text",
    { class: "name", x: right, y: height - 6, "text-anchor": "end" },
    `${axes.xName} \u2192`,
  );

  const front = frontierOf(points, axes),
    segments = [];
  const segment = (x1, y1, x2, y2) =>
    segments.push({
      x: Math.min(x1, x2) - 1,
      y: Math.min(y1, y2) - 1,
      w: Math.abs(x2 - x1) + 2,
      h: Math.abs(y2 - y1) + 2,
    });
  if (front.length) {
    const edge = axes.better < 0 ? frame.y : bottom;
    let [x, y] = [X.at(axes.x(front[0])), edge],
      d = `M${x} ${y}`;
    for (const t of front) {
      const [toX, toY] = [X.at(axes.x(t)), Y.at(axes.y(t))];
      segment(x, y, toX, y);
      segment(toX, y, toX, toY);
      d += `H${toX}V${toY}`;
      [x, y] = [toX, toY];
    }
    segment(x, y, frame.x, y);
    drawn(svg, "path", { class: "front", d: d + `H${frame.x}` });
  }
  const marks = [];
  for (const t of lines) {
    const y = Y.at(axes.y(t));
    const group = focusable(svg, t, axes, right - frame.w / 2, y);
    drawn(group, "path", { class: "hit", d: `M${frame.x} ${y}H${right}` });
    drawn(group, "path", { class: "across", d: `M${frame.x} ${y}H${right}` });
    const own = { x: frame.x, y: y - 1, w: frame.w, h: 2 };
    segments.push(own);
    marks.push({ t, x: right, y, across: true, own, kind: "line", group });
  }
  const ordered = [...front, ...points.filter((t) => !front.includes(t))];
  for (const t of [...ordered].reverse()) {
    const [x, y] = [X.at(axes.x(t)), Y.at(axes.y(t))];
    const kind = front.includes(t) ? "on-front" : t.whole ? "beaten" : "partly";
    const group = focusable(svg, t, axes, x, y);
    drawn(group, "circle", { class: "hit", cx: x, cy: y, r: 14 });
    const d = isOurs(t.codec) ? `M${x} ${y - 6.5}L${x + 6.5} ${y}L${x} ${y + 6.5}L${x - 6.5} ${y}Z` : "";
    if (d) drawn(group, "path", { class: `point ours ${kind}`, d });
    else drawn(group, "circle", { class: `point ${kind}`, cx: x, cy: y, r: 5 });
    marks.unshift({ t, x, y, kind, group });
  }
  const unnamed = labelPoints(svg, marks, frame, segments);
  explainPareto(front, lines, points, unnamed);
}
function labelPoints(svg, marks, frame, segments) {
  const place = svg.appendChild(document.createElementNS(SVG, "g"));
  for (const mark of marks) {
    mark.text = drawn(
      place,
      "text",
      { class: `label ${mark.kind}${isOurs(mark.t.codec) ? " ours" : ""}` },
      labelOf(mark.t),
    );
    const box = mark.text.getBBox();
    [mark.w, mark.h] = [box.width + 4, box.height];
    mark.rise = -box.y; // from the top of the box to the line that the letters stand on
  }
  const dots = marks.filter((m) => !m.across).map(({ x, y }) => ({ x: x - 7, y: y - 7, w: 14, h: 14 }));
  const left = [];
  placeLabels(marks, frame, dots, segments).forEach((box, k) => {
    const { text, rise, x, y, t } = marks[k];
    if (!box) {
      text.remove();
      left.push(nameOf(t.codec));
      return;
    }
    text.setAttribute("x", box.x + 2);
    text.setAttribute("y", box.y + rise);
    if (box.r > NEAR) {
      const [toX, toY] = nearest(box, x, y);
      drawn(svg, "path", { class: "leader", d: `M${x} ${y}L${toX} ${toY}` });
    }
  });
  return left;
}
function explainPareto(front, lines, points, unnamed) {
  const key = $("pareto-key");
  const entry = (kind, shape, text) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("class", "swatch");
    svg.setAttribute("viewBox", "0 0 24 14");
    svg.setAttribute("aria-hidden", "true");
    drawn(
      svg,
      ...(shape === "line"
        ? ["path", { class: kind, d: "M1 7H23" }]
        : shape === "diamond"
          ? ["path", { class: kind, d: "M12 1L18 7L12 13L6 7Z" }]
          : ["circle", { class: kind, cx: 12, cy: 7, r: 5 }]),
    );
    const item = make("span", undefined, "entry");
    item.append(svg, text);
    key.append(item);
  };
  const whole = shown.totals.some((t) => t.codec === shown.baseline && t.whole);
  const fewer = `has fewer files${whole ? `: placed by its size against ${cut(nameOf(shown.baseline), 16)} on those` : ", which do not compare"}`;
  if (points.some((t) => isOurs(t.codec))) entry("point ours on-front", "diamond", "nncodec");
  if (front.length) {
    entry("point on-front", "circle", "no other is smaller and faster");
    entry("front", "line", "the best at a speed or more");
  }
  if (points.some((t) => t.whole && !front.includes(t))) entry("point beaten", "circle", "another is both");
  if (points.some((t) => !t.whole)) entry("point partly", "circle", fewer);
  if (lines.length) entry("across", "line", "no speed known");
  const gone = shown.totals
    .filter((t) => !t.files)
    .map((t) => `${cut(nameOf(t.codec))} (${t.absentRows ? "absent" : t.failed ? "failed" : "no files"})`);
  if (unnamed.length)
    key.append(make("span", "No room for the names of " + unnamed.map((c) => cut(c)).join(", "), "entry"));
  if (gone.length) key.append(make("span", "Not there: " + gone.join(", "), "entry"));
}

// What is said of a codec when its point has the mouse or the focus.
function factsOf(t, axes) {
  const facts = [
    ["bits per byte", inWords.bits(t.bits)],
    ["with model", t.model ? inWords.bits(t.bitsWithModel) : ""],
    ["ratio", inWords.ratio(t.ratio)],
    [`against ${cut(nameOf(shown.baseline), 16)}`, t.codec === shown.baseline ? "" : inWords.percent(t.against)],
    ["MB/s in", inWords.speed(t.compress)],
    ["MB/s out", inWords.speed(t.decompress)],
    ["peak MB in", inWords.memory(t.compressPeak)],
    ["peak MB out", inWords.memory(t.decompressPeak)],
    ["files", t.whole ? count(t.files) : `${count(t.files)} of ${count(shown.files)}`],
  ];
  if (axes.x(t) === null) facts.push(["speed", t.quoted ? "quoted without one" : "not known"]);
  return facts.filter(([, value]) => value);
}
function focusable(svg, t, axes, x, y) {
  const facts = factsOf(t, axes);
  const said = `${nameOf(t.codec)}: ${facts.map((f) => f.join(" ")).join(", ")}`;
  const group = drawn(svg, "g", { class: "codec", tabindex: 0, role: "img", "aria-label": said });
  group.dataset.codec = t.codec;
  for (const event of ["pointerenter", "focus", "click"])
    group.addEventListener(event, () => showTip(t, facts, x, y));
  for (const event of ["pointerleave", "blur"]) group.addEventListener(event, hideTip);
  group.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  return group;
}
function showTip(t, facts, x, y) {
  hideTip();
  const place = $("pareto"),
    tip = place.appendChild(make("div", undefined, "tip"));
  tip.append(make("bdi", nameOf(t.codec)));
  const list = tip.appendChild(make("dl"));
  for (const [name, value] of facts) list.append(make("dt", name), make("dd", value));
  const wide = place.clientWidth;
  tip.style.left = Math.max(0, Math.min(x + 14, wide - tip.offsetWidth)) + "px";
  if (x + 14 + tip.offsetWidth > wide && x - 14 - tip.offsetWidth >= 0)
    tip.style.left = x - 14 - tip.offsetWidth + "px";
  tip.style.top = Math.max(0, y - tip.offsetHeight - 10) + "px";
}
function hideTip() {
  $("pareto").querySelector(".tip")?.remove();
}
