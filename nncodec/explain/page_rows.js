// Rows: where each begins (text breaks at line ends and at the width, hex at a multiple of four), drawing
// those in sight, and the byte that is chosen.
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
    for (let i = 0, used = cells; i < n;) {
      const [length, point] = charAt(i);
      const w = wide(point) ? 2 : 1;
      if (used + w > cells) {
        list.push(i);
        used = 0;
      }
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
  let low = 0,
    high = rows;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= i) low = middle;
    else high = middle;
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
  for (let i = starts[r]; i < starts[r + 1];) {
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
  const view = $("view"),
    first = Math.max(0, Math.floor(view.scrollTop / ROW) - 8);
  const last = Math.min(rows, Math.ceil((view.scrollTop + view.clientHeight) / ROW) + 8);
  for (const [r, row] of drawn)
    if (r < first || r >= last) {
      row.remove();
      drawn.delete(r);
    }
  for (let r = first; r < last; r++) {
    if (!drawn.has(r)) {
      const row = drawRow(r);
      drawn.set(r, row);
      $("sheet").append(row);
    }
  }
}
function select(i, scroll) {
  if (i < 0 || i >= n) return;
  at = i;
  for (const cell of document.querySelectorAll(".at")) cell.classList.remove("at");
  if (scroll) {
    if (scroll === "far" && phone()) document.querySelector("main").scrollIntoView();
    const view = $("view"),
      top = rowOf(i) * ROW;
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
