"""Frame times of a page of ``nncodec explain`` in headless Chromium: wheel steps, then far jumps.

usage: python scripts/measure_scrolling.py PAGE.html

Each line is one width: milliseconds between frames, median, 95th percentile and maximum of 300,
while a frame scrolls on by 120 pixels (a notch of a wheel), and while every frame jumps somewhere
else. No graphics card helps: the processor paints it all, so nothing else should run beside it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import browser, find_chrome

READY = "document.documentElement && document.documentElement.dataset.ready"
SIZES = ((390, 844), (1280, 900))
STEPS = {"wheel": "v.scrollTop + 120", "jumps": "(v.scrollTop + 0.618 * v.scrollHeight) % end"}
FRAMES = """
new Promise((done) => {
  const v = document.getElementById("view"), end = v.scrollHeight - v.clientHeight, times = [];
  let last = 0;
  v.scrollTop = end / 3;
  requestAnimationFrame(function frame(now) {
    if (last) times.push(now - last);
    last = now;
    v.scrollTop = STEP;
    if (times.length < 300) requestAnimationFrame(frame);
    else done(times.sort((a, b) => a - b));
  });
})
"""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    page, chrome = Path(sys.argv[1]), find_chrome()
    if not chrome:
        sys.exit("needs Chromium: install it, or set CHROME to its path")
    with tempfile.TemporaryDirectory() as profile, browser(chrome, Path(profile)) as view:
        for width, height in SIZES:
            view.size(width, height)
            view.open(page, READY)
            for name, step in STEPS.items():
                times = view.ask(FRAMES.replace("STEP", step))
                shown = " / ".join(f"{times[i]:.0f}" for i in (149, 284, 299))
                print(f"{width} x {height}, {name}: {shown} ms")
        if view.errors:
            sys.exit("\n".join(view.errors))


if __name__ == "__main__":
    main()
