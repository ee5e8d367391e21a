"""The report of ``nncodec bench``: what is in it, and what a real browser makes of it.

Browser tests need Chromium: on the PATH, or named by ``CHROME``. ``NNCODEC_SCREENSHOTS`` names a
folder that keeps their screenshots.
"""

from __future__ import annotations

import bz2
import csv
import dataclasses
import gzip
import hashlib
import itertools
import json
import lzma
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, browser, find_chrome
from helpers import SAMPLES

from nncodec.bench.report import check_extras, write_report
from nncodec.bench.report.page import render
from nncodec.bench.results import ABSENT, COLUMNS, FAILED, LENGTH, OK, QUOTED, Row
from nncodec.bench.summary import by_machine, summarise
from nncodec.errors import MissingPackageError, NNCodecError

plot = pytest.importorskip("nncodec.bench.plot")
pytest.importorskip("matplotlib", reason="figures need matplotlib, the bench extra")

DOCS = Path(__file__).parent.parent / "docs"
COMMAND = "nncodec bench corpora --codecs 'nncodec,xz:9e' --html report.html </script> \u2028"
HERE = {"machine": "This one, 2 cores, avx2", "cpu": "This one", "cores": "2", "memory_gb": "8"}
THERE = {"machine": "That one, 8 cores, neon", "cpu": "That one", "cores": "8", "memory_gb": "16"}
READY = "document.documentElement && document.documentElement.dataset.ready"
HOSTILE = [
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=alert(1)>&\"'@SCRIPT@.txt",
    "\u2028\u2029\u202e\u200b\x07\nname",
    "not utf-8 \udcff\udc80",
    "$x^$ \\frac{ __proto__ constructor",
    "\u9375\u05d0\u05d1",
]


def row(file: str, size: int, codec: str, status: str, **cells: Any) -> Row:
    about = {"file": file, "file_bytes": size, "codec": codec, "status": status, "load": 0.5}
    about["file_sha256"] = hashlib.sha256(file.encode("utf-8", "surrogatepass")).hexdigest()
    about |= {"date": "2026-01-02T03:04:05Z", "version": "0.1", "threads": 1, **HERE, **cells}
    if (packed := cells.get("compressed_bytes")) is not None:
        about["bits_per_byte"] = f"{8 * packed / size:.5f}"
        about["ratio"] = f"{size / packed:.5f}"
        model = cells.get("model_bytes", 0)
        about["bits_per_byte_with_model"] = f"{8 * (packed + model) / size:.5f}"
    for way in ("compress", "decompress"):
        if seconds := cells.get(f"{way}_seconds"):
            about |= {f"{way}_mb_s": f"{size / seconds / 1e6:.6g}", f"{way}_runs": 3}
    return {name: str(about.get(name, "")) for name in COLUMNS}


def measured_rows() -> list[Row]:
    """Real sizes and times of what Python has, on both machines; and every other kind of row."""
    packers: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
        "gzip:9": (gzip.compress, gzip.decompress),
        "bz2": (bz2.compress, bz2.decompress),
        "xz": (lzma.compress, lzma.decompress),
    }
    rows: list[Row] = []
    for name, sample in SAMPLES.items():
        data = sample * 9
        for codec, (pack, unpack) in packers.items():
            begin = time.perf_counter()
            packed = pack(data)
            middle = time.perf_counter()
            assert unpack(packed) == data
            cells = {
                "compressed_bytes": len(packed),
                "compress_seconds": middle - begin,
                "decompress_seconds": time.perf_counter() - middle,
                "compress_peak_mb": 9.5,
                "decompress_peak_mb": 8.25,
            }
            rows.append(row(name, len(data), codec, OK, **cells))
            if codec != "bz2" and len(data) > 100:
                rows.append(row(name, len(data), codec, OK, **cells, **THERE))
        size = len(lzma.compress(data, preset=9)) * 9 // 10
        cells = {"compressed_bytes": size, "compress_seconds": 0.5, "decompress_seconds": 0.75}
        model = {"model_bytes": 20_000, "model_id": "ab" * 16}
        rows.append(row(name, len(data), "nncodec", OK, **cells, **model))
        rows.append(row(name, len(data), "cmix", ABSENT, detail="cmix is not on the PATH"))
        if len(data) > 1000:
            said = {"compressed_bytes": size - 9, "detail": "the authors' table"}
            rows.append(row(name, len(data), "paq8px", QUOTED, **said))
            rows.append(row(name, len(data), "online", LENGTH, **dict(cells, decompress_seconds=0)))
            broken = {"detail": "other bytes after the round trip"}
            rows.append(row(name, len(data), "cmd:broken", FAILED, **broken))
    return rows


PEERS = {
    "xz-9e": ("xz:9e", 1.6), "zstd-22": ("zstd:22", 1.5), "brotli-11": ("brotli:11", 0.7),
    "bzip3": ("bzip3", 17), "lpaq8-9": ("lpaq8:9", 1.4), "zpaq-m5": ("zpaq:m5", 0.4),
    "mcm-h9": ("mcm:h9", 0.43), "paq8px-8": ("paq8px:8", 0), "cmix-v21": ("cmix", 0),
}  # fmt: skip


def many_rows() -> list[Row]:
    """131 files and 12 codecs, with the sizes that docs/benchmarks.csv has."""
    with (DOCS / "benchmarks.csv").open(newline="") as file:
        table = [line for line in csv.DictReader(file) if int(line["bytes"]) > 1]
    files = {line["file"]: line for line in table}
    wanted = itertools.chain(files.items(), ((f"again/{n}", f) for n, f in files.items()))
    rows = []
    for name, line in itertools.islice(wanted, 131):
        size = int(line["bytes"])
        for level in ("1", "6", "9"):
            cells: dict[str, Any] = {"detail": "not measured in the table"}
            found = [x for x in table if x["file"] == line["file"] and x["level"] == level]
            if found:
                cells = {"compressed_bytes": int(found[0]["nncodec"])}
                cells["compress_seconds"] = float(found[0]["compress_s"] or 1)
                cells["decompress_seconds"] = cells["compress_seconds"] * 1.1
                cells["model_bytes"] = 0 if level == "1" else 1_530_000
            spec = "nncodec" if level == "6" else f"nncodec:level={level}"
            rows.append(row(name, size, spec, OK if found else FAILED, **cells))
        for column, (spec, speed) in PEERS.items():
            if not line[column]:
                rows.append(row(name, size, spec, ABSENT, detail=f"{spec} is not on the PATH"))
            elif speed:
                seconds = size / 1e6 / speed
                cells = {"compress_seconds": seconds, "decompress_seconds": seconds / 2}
                rows.append(row(name, size, spec, OK, compressed_bytes=int(line[column]), **cells))
            else:
                said = {"compressed_bytes": int(line[column]), "detail": "the authors' table"}
                rows.append(row(name, size, spec, QUOTED, **said))
    return rows


@pytest.fixture(scope="module")
def real() -> list[Row]:
    return measured_rows()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, attrs))


def tags_of(page: bytes) -> list[tuple[str, list[tuple[str, str | None]]]]:
    parser = Tags()
    parser.feed(page.decode())
    return parser.seen


def hostile_rows() -> list[Row]:
    sizes = {"compressed_bytes": 500, "detail": HOSTILE[0]}
    return [
        row(name, 1000 + i, codec, OK, **sizes, compress_seconds=0.1 + k)
        for i, name in enumerate(HOSTILE)
        for k, codec in enumerate(HOSTILE)
    ]


def test_no_name_adds_to_the_page(real: list[Row]) -> None:
    page = render(hostile_rows(), COMMAND)
    assert tags_of(page) == tags_of(render(real, "nncodec bench"))
    assert page.count(b"</script>") == 2
    for character in "\u2028\u2029\u202e\u200b\x07":
        assert character.encode() not in page
    found = re.search(rb'id="about">(.*?)</script>', page)
    assert found
    about = json.loads(found[1])
    assert HOSTILE[0] in about["texts"]
    assert "not utf-8 \\xff\\x80" in about["texts"]
    assert "\\u2028\\u2029\\u202e\\u200b\\x07\\nname" in about["texts"]
    assert about["command"] == COMMAND.replace("\u2028", "\\u2028")


def test_nothing_is_asked_of_the_network(real: list[Row]) -> None:
    page = render(real, COMMAND)
    addresses = set(re.findall(rb"\w+://[^\s\"'`)]+", page))
    assert addresses == {b"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert not [a for _, attrs in tags_of(page) for a, _ in attrs if a in ("src", "href")]
    assert b"default-src 'none'" in page


def test_every_cell_is_in_the_page(real: list[Row]) -> None:
    found = re.search(rb'id="about">(.*?)</script>', render(real, COMMAND))
    assert found
    about = json.loads(found[1])
    rows = [
        dict(zip(about["columns"], (about["texts"][n] for n in line), strict=True))
        for line in about["rows"]
    ]
    assert rows == real


def test_files_beside_the_page(real: list[Row], tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("one", "two"))
    for folder in (first, second):
        folder.mkdir()
        written = write_report(folder / "a.b.html", real, COMMAND)
        assert sorted(written) == sorted(folder.iterdir())
    names = ["a.b-files.png", "a.b-files.svg", "a.b-pareto.png", "a.b-pareto.svg", "a.b.html"]
    assert sorted(path.name for path in first.iterdir()) == names
    for name in names:  # the same rows: the same files
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert (first / "a.b-pareto.png").read_bytes()[:4] == b"\x89PNG"


def test_figures_of_any_names_and_of_nothing(tmp_path: Path) -> None:
    write_report(tmp_path / "hostile.html", hostile_rows(), COMMAND)
    svg = (tmp_path / "hostile-pareto.svg").read_text()
    assert "<script" not in svg.replace("<!--", "")
    write_report(tmp_path / "none.html", [], COMMAND)
    only_absent = [row("text", 5, "cmix", ABSENT, detail="not here")]
    write_report(tmp_path / "absent.html", only_absent, COMMAND)
    empty = [row("empty", 1, "gzip:9", OK) | {"file_bytes": "0", "compressed_bytes": "20"}]
    write_report(tmp_path / "empty.html", empty, COMMAND)
    assert len(list(tmp_path.iterdir())) == 20


def test_figures_of_many_files_are_readable(tmp_path: Path) -> None:
    from matplotlib.image import imread

    plot.draw(many_rows(), tmp_path / "many")
    height, width = imread(tmp_path / "many-files.png").shape[:2]
    assert 2000 < height < 3500  # some 20 pixels a file
    assert width == 960
    for picture in tmp_path.iterdir():
        keep(picture)


def test_reports_that_cannot_be_written_leave_nothing(real: list[Row], tmp_path: Path) -> None:
    with pytest.raises(NNCodecError, match="cannot write"):
        write_report(tmp_path / "absent" / "report.html", real, COMMAND)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_extras()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"nncodec-lm\[bench\]"):
        check_extras()
    with pytest.raises(MissingPackageError):
        write_report(tmp_path / "report.html", [], COMMAND)
    assert list(tmp_path.iterdir()) == []


# In a browser

needs_chrome = pytest.mark.skipif(
    find_chrome() is None, reason="no Chromium: install it, or set CHROME to its path"
)
Load = Callable[..., None]


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = find_chrome()
    assert path
    with browser(path, tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def load(chrome: Browser, tmp_path: Path) -> Iterator[Load]:
    """Opens a report; afterwards there must have been no error and no request."""
    target = tmp_path / "page.html"

    def open_page(rows: Sequence[Row], width: int = 1280, height: int = 900) -> None:
        target.write_bytes(render(rows, COMMAND))
        chrome.size(width, height)
        chrome.open(target, READY)

    chrome.errors.clear()
    chrome.requests.clear()
    yield open_page
    chrome.ask("new Promise(requestAnimationFrame).then(() => 1)")
    assert chrome.errors == []
    assert set(chrome.requests) == {target.as_uri()}


def keep(path: Path) -> None:
    if folder := os.environ.get("NNCODEC_SCREENSHOTS"):
        shutil.copy(path, Path(folder) / f"bench-{path.name}")


def change(chrome: Browser, control: str, value: str) -> None:
    chrome.ask(
        f"(e => {{ e.value = {json.dumps(value)}; for (const kind of ['input', 'change']) "
        f"e.dispatchEvent(new Event(kind)) }})(document.getElementById('{control}'))"
    )


def press(chrome: Browser, key: str, code: int, text: str = "") -> None:
    about: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code}
    chrome.call("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
    chrome.call("Input.dispatchKeyEvent", type="keyUp", **about)


def texts(chrome: Browser, selector: str) -> list[str]:
    found: list[str] = chrome.ask(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent.trim())"
    )
    return found


def codecs(chrome: Browser) -> list[str]:
    return texts(chrome, "#totals tbody th bdi")


def column(chrome: Browser, key: str) -> list[float | None]:
    """What the totals' column shows, as numbers."""
    place = chrome.ask(
        f"[...document.querySelectorAll('#totals thead button')]"
        f".findIndex((b) => b.dataset.key === '{key}')"
    )
    shown = texts(chrome, f"#totals tbody tr > :nth-child({place + 1})")
    cut = [re.sub(r"( of .*| best|,| %)", "", s).replace("\u2212", "-") for s in shown]
    return [None if s == "\u2013" else float(s) for s in cut]


NAMES = {
    "files": "files", "bytes": "bytes", "compressed_bytes": "compressed", "model_bytes": "model",
    "bits_per_byte": "bits", "bits_per_byte_with_model": "bitsWithModel", "ratio": "ratio",
    "compress_mb_s": "compress", "decompress_mb_s": "decompress", "absent": "absent",
    "compress_peak_mb": "compressPeak", "decompress_peak_mb": "decompressPeak",
    "baseline_pct": "against", "failed": "failed", "codec": "codec",
}  # fmt: skip


@needs_chrome
@pytest.mark.parametrize("rows", [measured_rows(), many_rows()], ids=["real", "many"])
def test_sums_are_those_of_the_summary(chrome: Browser, load: Load, rows: list[Row]) -> None:
    load(rows)
    machines = by_machine(rows)
    for machine, part in itertools.product(machines, ("", "A", "n")):
        change(chrome, "machine", machine)
        change(chrome, "filter", part)
        chosen = [r for r in machines[machine] if part.lower() in r["file"].lower()]
        assert chosen
        expected = summarise(chosen)
        found = {t["codec"]: t for t in chrome.ask("shown.totals")}
        assert list(found) == [total.codec for total in expected]
        for total in expected:
            mine = found[total.codec]
            for name, value in dataclasses.asdict(total).items():
                got = mine[NAMES[name]]
                if name == "compressed_bytes":
                    got = got or 0
                wanted = value if value is None or isinstance(value, str) else pytest.approx(value)
                assert got == wanted, (total.codec, name, machine, part)
        # The line of the best is that of the figure.
        points = [(p.speed, p.ratio, p) for p in plot.points_of(expected) if p.speed]
        whole = max(t.files for t in expected)
        front = [p.codec for _, _, p in plot.frontier(x for x in points if x[2].files == whole)]
        change(chrome, "size", "ratio")
        places = chrome.ask("shown.totals.map((t) => [t.codec, t.placedRatio])")
        ratios = {p.codec: p.ratio for p in plot.points_of(expected)}
        assert {c: r for c, r in places if r is not None} == pytest.approx(ratios)
        mine = chrome.ask(
            "(axes => frontierOf(shown.totals.filter((t) => t.compress), axes))(axesOf())"
            ".map((t) => t.codec)"
        )
        full = [r for r in chosen if r["bits_per_byte"]]
        if whole == len({(r["file"], r["file_sha256"]) for r in full}):
            assert mine == front


@needs_chrome
def test_sorting_by_mouse_and_keyboard(chrome: Browser, load: Load, real: list[Row]) -> None:
    load(real)
    click = "document.querySelector('#totals button[data-key=\"{}\"]').click()"
    state = "document.querySelector('#totals th[aria-sort]').getAttribute('aria-sort')"
    for key in ("bits", "compress", "files", "against"):
        for way in ("ascending", "descending"):
            if key == "against" and way == "ascending":
                continue  # as it was at first, when files were not yet sorted by
            chrome.ask(click.format(key))
            got = column(chrome, key)
            some = [v for v in got if v is not None]
            state_now = chrome.ask(state)
            assert some == sorted(some, reverse=state_now == "descending")
            assert got[len(some) :] == [None] * (len(got) - len(some))  # not known: last
            assert len(texts(chrome, "#totals th[aria-sort]")) == 1
    chrome.ask(click.format("codec"))
    assert codecs(chrome) == sorted(codecs(chrome))
    chrome.ask("document.querySelector('#totals button[data-key=\"ratio\"]').focus()")
    press(chrome, "Enter", 13, "\r")
    ascending = column(chrome, "ratio")
    assert chrome.ask(state) == "ascending"
    press(chrome, " ", 32, " ")  # the focus has stayed
    assert chrome.ask(state) == "descending"
    known = [v for v in column(chrome, "ratio") if v is not None]
    assert known == [v for v in ascending if v is not None][::-1]
    # All rows: equals stay in the order of what was sorted by before.
    for key in ("file_bytes", "codec"):
        chrome.ask(f"document.querySelector('#rows button[data-key=\"{key}\"]').click()")
    shown = texts(chrome, "#rows tbody tr > :nth-child(2)")
    sizes = [int(s.replace(",", "")) for s in texts(chrome, "#rows tbody tr > :nth-child(4)")]
    assert shown == sorted(shown)
    assert [s for c, s in zip(shown, sizes, strict=True) if c == "bz2"] == sorted(
        9 * len(sample) for sample in SAMPLES.values()
    )


@needs_chrome
def test_counting_the_models_bytes(chrome: Browser, load: Load, real: list[Row]) -> None:
    load(real)
    label = "#pareto g.codec[data-codec='nncodec']"
    place = f"document.querySelector(\"{label} .point\").getAttribute('d')"
    before, bars = chrome.ask(place), texts(chrome, "#bars .value")
    without = dict(zip(codecs(chrome), column(chrome, "counted"), strict=True))
    chrome.ask("document.getElementById('model').click()")
    counted = dict(zip(codecs(chrome), column(chrome, "counted"), strict=True))
    assert counted == without | {"nncodec": (without["nncodec"] or 0) + 20_000}
    assert chrome.ask(place) != before
    assert texts(chrome, "#bars .value") != bars
    assert "the model counted" in texts(chrome, "#pareto svg .name")[0]
    # Of each file: the row's own figure, of which the bar shows the begin.
    some = next(r for r in real if r["codec"] == "nncodec")
    shown = f"{float(some['bits_per_byte_with_model']):.3f}"
    change(chrome, "filter", some["file"])
    assert shown in [s.replace(",", "") for s in texts(chrome, "#bars .value")] or float(shown) > 99
    chrome.ask("document.getElementById('model').click()")
    change(chrome, "filter", "")
    assert chrome.ask(place) == before


COMMANDS = ["cmd:mine=mine -c {in} {out};mine -d", "cmd:two=a;b", "cmd:two=c;d"]


def command_rows() -> list[Row]:
    """The first codec is absent: what others are compared with is the next."""
    rows = [row("text", 5000, "nncodec:none", ABSENT, detail="no model")]
    for number, codec in enumerate(COMMANDS):
        cells = {"compressed_bytes": 1000 + 100 * number, "compress_seconds": 0.1 + number}
        rows.append(row("text", 5000, codec, OK, codec_version="1", **cells))
    return rows


def test_figures_call_commands_by_their_names(tmp_path: Path) -> None:
    rows = command_rows()
    points = plot.points_of(summarise(rows))
    assert [plot.text_of(p, 1) for p in points] == ["mine", *COMMANDS[1:]]
    plt = plot.pyplot()
    figure, axes = plt.subplots()
    plot.each_file(figure, axes, rows, plot.files_of(rows))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    plt.close(figure)
    assert texts == ["mine", *COMMANDS[1:]]
    names = sorted(path.name for path in plot.files_beside(tmp_path / "a.b.html"))
    assert names == ["a.b-files.png", "a.b-files.svg", "a.b-pareto.png", "a.b-pareto.svg"]


@needs_chrome
def test_the_page_calls_commands_by_their_names(chrome: Browser, load: Load) -> None:
    load(command_rows())
    assert chrome.ask("shown.baseline") == COMMANDS[0]
    assert "against mine" in chrome.ask("document.querySelector('#totals thead').textContent")
    for place in ("#totals tbody", "#pareto", "#bars", "#chosen", "#rows tbody"):
        shown = chrome.ask(f"document.querySelector('{place}').textContent")
        assert "mine" in shown, place
        assert "mine -c" not in shown, place
    assert COMMANDS[0] in chrome.ask("document.querySelector('#versions').textContent")


@needs_chrome
def test_machines_are_never_summed(chrome: Browser, load: Load, real: list[Row]) -> None:
    load(real)
    assert chrome.ask("document.getElementById('machine').value") == HERE["machine"]  # most rows
    assert "This one" in texts(chrome, "#facts")[0]
    assert len(codecs(chrome)) == 8
    change(chrome, "machine", THERE["machine"])
    assert sorted(codecs(chrome)) == ["gzip:9", "xz"]
    assert "That one" in texts(chrome, "#facts")[0]
    assert "This one" not in texts(chrome, "#facts")[0]
    there = [r for r in real if r["machine"] == THERE["machine"]]
    assert texts(chrome, "#rows-pager span") == [f"1 to {len(there)} of {len(there)}"]
    load([r for r in real if r["machine"] == HERE["machine"]])
    assert chrome.ask("document.getElementById('machine-label').hidden")


@needs_chrome
def test_what_is_not_measured_is_said(chrome: Browser, load: Load, real: list[Row]) -> None:
    load(real)
    said = texts(chrome, "#totals")[0]
    for word in ("cmix is not on the PATH", "other bytes after the round trip", "code length"):
        assert word in said
    assert texts(chrome, "#totals .chip.quoted") == ["quoted"]
    quoted = sum(r["status"] == "quoted" and r["machine"] == HERE["machine"] for r in real)
    lead = texts(chrome, "#lead")[0]
    assert lead.endswith(f", every round trip measured here compared, {quoted} sizes quoted")
    assert "the authors' table" in texts(chrome, "#notes")[0]
    assert "cmix (absent)" in texts(chrome, "#pareto-key")[0]
    assert "broken (failed)" in texts(chrome, "#pareto-key")[0]
    # A quoted codec has no speed: a line across.
    assert chrome.ask("document.querySelectorAll('#pareto .codec .across').length") == 1
    assert "paq8px" in texts(chrome, "#pareto text.line")[0]
    change(chrome, "status", "absent")
    assert set(texts(chrome, "#rows tbody .chip")) == {"absent"}
    assert len(texts(chrome, "#rows tbody tr")) == len(SAMPLES)
    change(chrome, "status", "")
    change(chrome, "row-filter", "broken TEXT")
    assert len(texts(chrome, "#rows tbody tr")) == 1
    assert "other bytes" in texts(chrome, "#rows tbody tr")[0]
    change(chrome, "row-filter", "nothing has this")
    assert texts(chrome, "#rows") == ["No row has all of that."]
    load([r for r in real if r["status"] != "quoted"])
    assert texts(chrome, "#lead")[0].endswith(", every round trip compared")
    load([r for r in real if r["status"] == "quoted"])
    assert "round trip" not in texts(chrome, "#lead")[0]


@needs_chrome
def test_choosing_files_and_codecs(chrome: Browser, load: Load, real: list[Row]) -> None:
    load(real)
    files = len(SAMPLES)
    assert len(texts(chrome, "#bars article")) == files
    chrome.ask("document.getElementById('common').click()")
    large = [name for name, sample in SAMPLES.items() if 9 * len(sample) > 1000]
    assert 0 < len(large) < files
    assert sorted(texts(chrome, "#bars h3 bdi")) == sorted(large)
    assert {v for v in column(chrome, "files") if v} == {len(large)}
    assert texts(chrome, "#counted")[0].startswith(f"{len(large)} of {files} files")
    chrome.ask("document.getElementById('common').click()")
    change(chrome, "order", "size")
    sizes = [int(s.split()[0].replace(",", "")) for s in texts(chrome, "#bars h3 span")]
    assert sizes == sorted(sizes, reverse=True)
    change(chrome, "order", "gain")
    gains = [
        float(m[1]) * (1 if m[2] == "smaller" else -1)
        for s in texts(chrome, "#bars article p")
        if (m := re.search(r"([\d.]+) % (smaller|larger)", s))
    ]
    assert gains == sorted(gains, reverse=True)
    assert len(gains) > 2
    box = "[...document.querySelectorAll('#chosen label')].find((l) => l.textContent === ' bz2')"
    assert "bz2" in texts(chrome, "#bars .codec")
    chrome.ask(f"{box}.querySelector('input').click()")
    assert "bz2" not in texts(chrome, "#bars .codec")
    change(chrome, "filter", "no file is called this")
    assert texts(chrome, "#bars") == ["No file has this in its name."]
    assert texts(chrome, "#totals-note") == ["No row is left."]
    assert texts(chrome, "#pareto .canvas") == ["No codec has a size for these files."]
    change(chrome, "filter", "")


@needs_chrome
def test_points_say_what_they_are(chrome: Browser, load: Load, real: list[Row]) -> None:
    load(real)
    point = "document.querySelector(\"#pareto g.codec[data-codec='bz2']\")"
    chrome.ask(f"{point}.focus()")
    assert "bz2" in texts(chrome, ".tip bdi")
    said = chrome.ask(f"{point}.getAttribute('aria-label')")
    assert "bits per byte" in said
    chrome.ask(f"{point}.blur()")
    assert texts(chrome, ".tip") == []
    where = (
        "[...document.querySelectorAll('#pareto circle.point')].map((e) => e.getAttribute('cx'))"
    )
    before = chrome.ask(where)
    change(chrome, "speed", "decompress")
    assert chrome.ask(where) != before
    assert "decompressing" in texts(chrome, "#pareto svg .name")[1]
    assert chrome.ask("document.querySelectorAll('#pareto .across').length") > 1  # online, too
    change(chrome, "size", "ratio")
    assert texts(chrome, "#pareto svg .name")[0] == "\u2191 ratio"


OVERLAPS = """(() => {
  const boxes = [...document.querySelectorAll("#pareto text.label")].map((t) => [t, t.getBBox()]);
  const dots = [...document.querySelectorAll("#pareto .point")].filter((p) => p.closest(".codec"));
  const frame = document.querySelector("#pareto .canvas svg").viewBox.baseVal;
  const meet = (a, b) => a.x + a.width > b.x + 0.5 && b.x + b.width > a.x + 0.5 &&
    a.y + a.height > b.y + 0.5 && b.y + b.height > a.y + 0.5;
  const bad = [];
  boxes.forEach(([t, a], i) => {
    for (const [u, b] of boxes.slice(i + 1))
      if (meet(a, b)) bad.push([t.textContent, u.textContent]);
    for (const dot of dots) if (meet(a, dot.getBBox())) bad.push([t.textContent, "a point"]);
    if (a.x < 0 || a.y < 0 || a.x + a.width > frame.width || a.y + a.height > frame.height)
      bad.push([t.textContent, "outside"]);
  });
  return { bad, labels: boxes.length, codecs: document.querySelectorAll("#pareto g.codec").length };
})()"""


@needs_chrome
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_a_large_report_in_a_browser(
    chrome: Browser, load: Load, tmp_path: Path, width: int, height: int, scheme: str
) -> None:
    chrome.scheme(scheme)
    rows = many_rows()
    assert len(rows) == 131 * 12
    load(rows, width, height)
    assert chrome.ask("document.querySelectorAll('*').length") < 4000
    for speed, size, model in itertools.product(
        ("compress", "decompress"), ("bits", "ratio"), (0, 1)
    ):
        change(chrome, "speed", speed)
        change(chrome, "size", size)
        chrome.ask(
            f"(e => e.checked === {str(bool(model)).lower()} || e.click())"
            "(document.getElementById('model'))"
        )
        assert chrome.ask("document.documentElement.scrollWidth") <= width
        found = chrome.ask(OVERLAPS)
        assert found["bad"] == [], (speed, size, model)
        assert found["labels"] == found["codecs"] > 9  # none was left out
    chrome.ask("document.getElementById('model').click()")
    change(chrome, "speed", "compress")
    change(chrome, "size", "bits")
    for name, place in (
        ("top", "header"),
        ("plot", "#pareto-head"),
        ("bars", "#files-head"),
        ("rows", "#rows-head"),
    ):
        chrome.ask(f"document.querySelector('{place}').scrollIntoView()")
        picture = tmp_path / f"{name}-{width}-{scheme}.png"
        chrome.screenshot(picture)
        keep(picture)
        assert picture.stat().st_size > 8_000
    ground = "(e => getComputedStyle(e).backgroundColor)(document.body)"
    assert (chrome.ask(ground) == "rgb(20, 19, 15)") == (scheme == "dark")


@needs_chrome
def test_long_lists_come_in_pages(chrome: Browser, load: Load) -> None:
    load(many_rows())
    assert texts(chrome, "#rows-pager span") == ["1 to 100 of 1,572"]
    seen = set()
    for _ in range(11):
        seen |= set(texts(chrome, "#bars h3 bdi"))
        chrome.ask("document.querySelector('#bars-pager [data-step=next]').click()")
    assert len(seen) == 131
    assert chrome.ask("document.querySelector('#bars-pager [data-step=next]').disabled")
    assert chrome.ask("document.activeElement.dataset.step") == "back"  # not lost


@needs_chrome
def test_hostile_names_in_a_browser(chrome: Browser, load: Load, tmp_path: Path) -> None:
    load(hostile_rows(), 390, 844)
    assert chrome.ask("document.querySelectorAll('img').length") == 0
    assert chrome.ask("document.querySelectorAll('script').length") == 2
    assert chrome.ask("document.title") == "nncodec bench"
    assert HOSTILE[0] in texts(chrome, "#totals tbody th bdi")
    assert chrome.ask("document.documentElement.scrollWidth") <= 390
    picture = tmp_path / "hostile.png"
    chrome.screenshot(picture)
    keep(picture)


@needs_chrome
def test_the_command_can_be_copied(chrome: Browser, load: Load, real: list[Row]) -> None:
    load(real)
    assert texts(chrome, "#command pre") == [COMMAND.replace("\u2028", "\\u2028")]
    chrome.call(
        "Runtime.evaluate",
        expression="document.getElementById('copy').click()",
        userGesture=True,
    )
    chrome.until("document.getElementById('copy').textContent === 'Copied'")


@needs_chrome
def test_a_report_of_nothing(chrome: Browser, load: Load) -> None:
    load([])
    assert texts(chrome, "#totals-note") == ["No row is left."]
    load([row("text", 5, "cmix", ABSENT, detail="not here")], 390, 844)
    assert "not here" in texts(chrome, "#totals")[0]
    assert chrome.ask("document.documentElement.scrollWidth") <= 390
