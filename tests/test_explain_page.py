"""The page of ``nncodec explain``: what is in the file, and what a real browser makes of it.

Browser tests need Chromium: on the PATH, or named by ``CHROME``. ``NNCODEC_SCREENSHOTS`` names a
folder that keeps their screenshots.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, browser, find_chrome
from helpers import JSON, TEXT
from test_cli import assert_one_error, cli, names

from nncodec import api
from nncodec.explain import Explanation, explain, page
from nncodec.explain.document import facts

HOSTILE = (
    TEXT
    + b"</script><script>document.title='broken'</script><!-- <script> <img src=x onerror=alert(1)>"
    + "\u2028\u2029\u202e\u200b\ufeff\U000e0001 a\u0301 \u05d0\u05d1 \u9375 \U0001f600\n".encode()
    + bytes(range(256))
    + b"\xed\xa0\x80\xf5\xc0\x80\xe2\x82"
    + TEXT
)
HOSTILE_NAME = "</title><img src=x onerror=alert(1)>&\"'\u2028@STYLE@.txt"
READY = "document.documentElement && document.documentElement.dataset.ready"
LARGE = 1_000_000


def shown_of(data: bytes) -> Explanation:
    return explain(io.BytesIO(data), api.load_codec(2, "tiny"))


def page_of(shown: Explanation, name: str = "text") -> bytes:
    return page.render(shown, facts(name, 2, "tiny", api.load_codec(2, "tiny")))


@pytest.fixture(scope="module")
def hostile() -> Explanation:
    return shown_of(HOSTILE)


@pytest.fixture(scope="module")
def large() -> Explanation:
    """A megabyte of text that never quite repeats."""
    rng = np.random.default_rng(5)
    words = TEXT.split() + [line.strip() for line in JSON.split(b"\n")]
    text = b" ".join(words[i] for i in rng.integers(0, len(words), LARGE // 5))
    return shown_of(text[:LARGE].replace(b". ", b".\n"))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def tags_of(rendered: bytes) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(rendered.decode())
    return parser.seen


def test_no_file_adds_to_the_page(hostile: Explanation) -> None:
    rendered = page_of(hostile, HOSTILE_NAME)
    assert tags_of(rendered) == tags_of(page_of(shown_of(TEXT)))
    assert rendered.count(b"</script>") == 3
    assert b"\xe2\x80\xa8" not in rendered
    about = re.search(rb'id="about">(.*?)</script>', rendered)
    assert about
    assert json.loads(about[1])["file"] == HOSTILE_NAME


def test_nothing_is_asked_of_the_network(hostile: Explanation) -> None:
    rendered = page_of(hostile)
    addresses = set(re.findall(rb"\w+://[^\s\"'`)]+", rendered))
    assert addresses == {b"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert not [a for _, attrs in tags_of(rendered) for a in attrs if a in ("src", "href")]
    assert b"default-src 'none'" in rendered


def test_quantized(hostile: Explanation) -> None:
    bits = np.linspace(0, 22, 5000).astype(np.float32)
    back = (2 ** (page.quantized_bits(bits) / 30) - 1) / 16
    assert (np.abs(back - bits) <= 0.0008 + 0.012 * bits).all()
    assert page.quantized_bits(np.float32([30, np.nan])).tolist() == [254, 255]
    p = np.arange(65536).reshape(-1, 1)
    back = np.where(q := page.quantized_shares(p), 2.0 ** -((q - 1.0) / 28), 0) * 65536
    assert (np.abs(back - p)[128:] <= 0.013 * p[128:]).all()
    assert (q[:128] == 0).all()


def test_size_of_a_megabyte(large: Explanation) -> None:
    assert len(large.data) == LARGE
    assert len(page_of(large)) < 20_000_000


def test_too_much_for_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_SHOWN", 100)
    text, target = tmp_path / "text", tmp_path / "page.html"
    text.write_bytes(TEXT)
    command = ("explain", "-m", "tiny", "-l", "2", text, "--html", target)
    assert_one_error(cli(*command), text, "choose some with --range 0:100")
    assert names(tmp_path) == ["text"]
    assert cli(*command, "--range", "50:150").rc == 0
    assert names(tmp_path) == ["page.html", "text"]


# In a browser

needs_chrome = pytest.mark.skipif(
    find_chrome() is None, reason="no Chromium: install it, or set CHROME to its path"
)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = find_chrome()
    assert path
    with browser(path, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def load(chrome: Browser, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Opens the page of an explanation; afterwards there must have been no error and no request."""
    target = tmp_path / "page.html"

    def open_page(shown: Explanation, width: int = 1280, height: int = 900) -> None:
        target.write_bytes(page_of(shown, HOSTILE_NAME))
        chrome.size(width, height)
        chrome.open(target, READY)

    chrome.errors.clear()
    chrome.requests.clear()
    yield open_page
    chrome.ask("new Promise(requestAnimationFrame).then(() => 1)")
    assert chrome.errors == []
    assert set(chrome.requests) == {target.as_uri()}


def choose(chrome: Browser, control: str, value: str) -> None:
    chrome.ask(
        f"(e => (e.value = '{value}', e.dispatchEvent(new Event('change'))))"
        f"(document.getElementById('{control}'))"
    )


def keep(path: Path) -> None:
    if folder := os.environ.get("NNCODEC_SCREENSHOTS"):
        shutil.copy(path, folder)


@needs_chrome
def test_hostile_bytes_in_a_browser(
    chrome: Browser, load: Callable[..., None], hostile: Explanation
) -> None:
    load(hostile)
    assert chrome.ask("document.querySelectorAll('img').length") == 0
    assert chrome.ask("document.title") == f"{HOSTILE_NAME} - nncodec explain"
    assert chrome.ask("document.querySelector('h1').textContent") == HOSTILE_NAME
    assert bytes(chrome.ask("Array.from(col.value)")) == HOSTILE
    got = np.array(chrome.ask("Array.from(col.network, (q) => cost[q])"))
    np.testing.assert_allclose(got, np.minimum(hostile.network, 22), rtol=0.013, atol=0.001)
    assert chrome.ask("mode") == "hex"  # too many control characters
    choose(chrome, "mode", "text")
    # Text: every character once, in order; invalid bytes one by one; controls never as such.
    everything = "[...Array(rows).keys()].flatMap((r) => [...drawRow(r).querySelectorAll('span')]"
    places = chrome.ask(f"{everything}.map((s) => +s.dataset.i))")
    decoded = HOSTILE.decode("utf-8", "surrogateescape")
    lengths = [len(c.encode("utf-8", "surrogateescape")) for c in decoded]
    assert places == [0, *np.cumsum(lengths)[:-1].tolist()]
    said = chrome.ask(f"{everything}.map((s) => s.textContent))")
    assert not [s for s in said if s != " " and not s[-1].isprintable()]
    assert "".join(said).startswith(TEXT.decode().replace("\n", "\u23ce"))
    # Hex: every byte once.
    choose(chrome, "mode", "hex")
    assert bytes.fromhex("".join(chrome.ask(f"{everything}.map((s) => s.textContent))"))) == HOSTILE


@needs_chrome
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_a_megabyte_in_a_browser(
    chrome: Browser,
    load: Callable[..., None],
    large: Explanation,
    tmp_path: Path,
    width: int,
    height: int,
    scheme: str,
) -> None:
    chrome.scheme(scheme)
    load(large, width, height)
    assert chrome.ask("document.documentElement.scrollWidth") <= width
    for share in (0.25, 0.5, 1):  # only what is in sight is drawn, and it is what belongs there
        chrome.ask(
            f"(v => v.scrollTop = {share} * v.scrollHeight)(document.getElementById('view'))"
        )
        chrome.ask(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        assert 0 < chrome.ask("document.querySelectorAll('.row').length") < 100
    ends = chrome.ask(
        "[...document.querySelectorAll('.row span')].map((s) => s.textContent).join('')"
    )
    assert ends.endswith(bytes(large.data[-200:]).decode().replace("\n", "\u23ce"))
    # A click on the curve goes there; the panel says what the arrays say.
    chrome.ask("select(700000, 'far')")
    said = chrome.ask("document.getElementById('panel').textContent")
    assert "700,000" in said
    assert "network alone" in said
    assert chrome.ask("document.querySelectorAll('.at').length") == 1
    picture = tmp_path / f"explain-{width}-{scheme}.png"
    chrome.screenshot(picture)
    keep(picture)
    assert picture.stat().st_size > 10_000
    ground = "(e => getComputedStyle(e).backgroundColor)(document.body)"
    assert (chrome.ask(ground) == "rgb(20, 19, 15)") == (scheme == "dark")


@needs_chrome
def test_ways_to_get_about(chrome: Browser, load: Callable[..., None], large: Explanation) -> None:
    load(large)
    panel = "document.getElementById('panel').querySelector('h2').textContent"
    chrome.ask("document.getElementById('stretches').open = true")
    begin = chrome.ask("about.least_predictable[2].begin")
    chrome.ask("document.querySelectorAll('#stretches button')[2].click()")
    assert chrome.ask(panel).endswith(f" at {begin:,}")
    box = chrome.ask("(b => [b.left, b.top, b.width, b.height])"
                     "(document.getElementById('curve').getBoundingClientRect())")  # fmt: skip
    x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
    for kind in ("mousePressed", "mouseReleased"):
        chrome.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    chrome.until(f"Math.abs({panel}.replace(/^.* at |,/g, '') - 500000) < 5000")
    chrome.ask("document.getElementById('view').focus()")
    before = chrome.ask("at")
    chrome.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
    assert chrome.ask("at") == before + 1
    choose(chrome, "goto", "123,456")
    assert chrome.ask(panel).endswith(" at 123,456")
    # The mouse shows a byte until a click holds one.
    chrome.ask("pinned = false")
    box = chrome.ask("(b => [b.left, b.top])(document.querySelectorAll('.row')[12]"
                     ".querySelectorAll('span')[3].getBoundingClientRect())")  # fmt: skip
    for kind, there in (("mouseMoved", True), ("mousePressed", True), ("mouseReleased", True),
                        ("mouseMoved", False)):  # fmt: skip
        x, y = (box[0] + 3, box[1] + 10) if there else (box[0] + 80, box[1] + 50)
        chrome.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        chrome.until(
            "at === +document.querySelectorAll('.row')[12].querySelectorAll('span')[3].dataset.i"
        )
    assert chrome.ask("pinned")
    # Colours by another model, in a row that is in sight.
    colours = "[...document.querySelectorAll('.row span')].map((s) => s.className).join()"
    coded = chrome.ask(colours)
    choose(chrome, "by", "network")
    assert chrome.ask(colours) != coded


@needs_chrome
@pytest.mark.parametrize(
    "data", [b"", b"x", b"\xff", bytes(3000), TEXT], ids=["empty", "one", "bad", "zeros", "text"]
)
def test_small_files_in_a_browser(chrome: Browser, load: Callable[..., None], data: bytes) -> None:
    load(shown_of(data))
    assert chrome.ask("n") == len(data)
    said = chrome.ask("document.getElementById('panel').textContent")
    assert ("no bytes" in said) == (not data)
    assert (chrome.ask("document.querySelectorAll('.row').length") > 0) == bool(data)
