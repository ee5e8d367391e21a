// Where labels go: beside their points, over nothing else. Boxes are {x, y, w, h}.
const apart = (a, b) => a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
const inside = (a, b) => a.x >= b.x && a.y >= b.y && a.x + a.w <= b.x + b.w && a.y + a.h <= b.y + b.h;

const NEAR = 16; // pixels; a label farther away has a line to its point

// ``marks``: {x, y, w, h} of each label's text and its point. ``taken``: boxes never to be covered;
// ``lines``: boxes better not covered. Returns for each a box, or null where there is no room.
function placeLabels(marks, frame, taken, lines) {
  const placed = [];
  const soft = [...lines];
  return marks.map((mark) => {
    const free = (box) => inside(box, frame) && [...taken, ...placed].every((other) => apart(box, other));
    const clear = (box) =>
      soft.every((line) => line === mark.own || apart(box, line)) &&
      leader(mark, box).every((dot) => placed.every((other) => apart(dot, other)));
    const boxes = (mark.across ? alongLine(mark, frame) : aroundPoint(mark)).filter(free);
    const found = boxes.find(clear) ?? boxes[0];
    if (!found) return null;
    placed.push(found);
    soft.push(...leader(mark, found));
    return found;
  });
}
const nearest = (box, x, y) => [
  Math.max(box.x, Math.min(x, box.x + box.w)),
  Math.max(box.y + 2, Math.min(y, box.y + box.h - 2)),
];
// Small boxes along the line from a point to its label, if there is one.
function leader({ x, y }, box) {
  if (box.r <= NEAR) return [];
  const [toX, toY] = nearest(box, x, y),
    steps = Math.ceil(box.r / 4);
  return [...Array(steps).keys()].map((k) => {
    const part = (k + 0.5) / steps;
    return { x: x + part * (toX - x) - 1, y: y + part * (toY - y) - 1, w: 2, h: 2 };
  });
}
function* radii() {
  for (let r = 9; r < 240; r += r < 30 ? 7 : 12) yield r;
}
// Right, left, above and below, then between them, farther and farther away.
function aroundPoint({ x, y, w, h }) {
  const boxes = [];
  for (const r of radii()) {
    for (const turn of [0, 8, 12, 4, 14, 2, 10, 6, 15, 1, 13, 3, 9, 7, 11, 5]) {
      const c = Math.cos((turn * Math.PI) / 8),
        s = Math.sin((turn * Math.PI) / 8);
      // The nearest edge or corner of the box is at distance r.
      const left = x + r * c - (c > 0.1 ? 0 : c < -0.1 ? w : w / 2);
      const top = y + r * s - (s > 0.1 ? 0 : s < -0.1 ? h : h / 2);
      boxes.push({ x: left, y: top, w, h, r });
    }
  }
  return boxes;
}
function alongLine({ y, w, h }, frame) {
  const boxes = [];
  for (const away of [1, -h - 1, 14, -h - 14]) {
    for (let x = frame.x + frame.w - w - 2; x >= frame.x; x -= 12)
      boxes.push({ x, y: y - h - away, w, h, r: 0 });
  }
  return boxes;
}
