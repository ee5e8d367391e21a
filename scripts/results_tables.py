"""Put the figures of docs/results into README.md and docs/benchmarks.md.

usage: python scripts/results_tables.py [--check | --show FOLDER]

Between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->`` of a document stands the table NAME, made
from ``readme.csv`` or ``corpus.csv`` alone. ``--check`` writes nothing and fails if a table is not
what the rows give; ``--show`` prints the README's tables from the rows of another folder.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from nncodec.bench.results import ABSENT, FAILED, OK, QUOTED, SIZED, Row, read_results
from nncodec.bench.summary import Total, summarise

ROOT = Path(__file__).parents[1]
README = ("README.md", "readme")
LARGE = 10_000  # bytes of the files that are compared: small ones are mostly headers
OURS = ("nncodec", "nncodec:level=1")
# Columns of the README's table, in its order, and what people call them.
NAMES = {
    "xz:9e": "xz -9e",
    "zstd:22": "zstd -22",
    "brotli:11": "brotli -11",
    "bzip3:16": "bzip3",
    "lpaq8:9": "lpaq8 9",
    "mcm:h9": "mcm -h9",
    "zpaq:5": "zpaq -m5",
    "paq8px:8": "paq8px -8",
    "cmix": "cmix",
    "nncodec:level=1": "nncodec -1",
    "nncodec": "nncodec",
}
SHORT = tuple(codec for codec in NAMES if codec not in ("zstd:22", "brotli:11", "mcm:h9", "zpaq:5"))
"""Columns that the README has room for."""


def rows_of(path: Path) -> list[Row]:
    """Of one machine, that with the most rows: speeds of two are not to be added."""
    rows = list(read_results(path).values())
    if not rows:
        sys.exit(f"results_tables.py: {path} has no rows; make_results.py measures them")
    machines = [row["machine"] for row in rows]
    chosen = max(dict.fromkeys(machines), key=machines.count)
    return [row for row in rows if row["machine"] == chosen]


def markdown(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    first = list(head)
    table = [first, ["---", *["--:"] * (len(first) - 1)], *map(list, lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in table)


def by_file(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """File, then codec; a measured row before a quoted one."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        here = found.setdefault(row["file"], {})
        old = here.get(row["codec"])
        if old is None or old["status"] != OK:
            here[row["codec"]] = row
    return found


def size(row: Row | None) -> int | None:
    return int(row["compressed_bytes"]) if row and row["status"] in SIZED else None


def sizes(rows: list[Row], codecs: Iterable[str]) -> str:
    """Bytes of every file by every codec; the smallest bold, what is quoted in italics."""
    found = {row["codec"] for row in rows if row["status"] in SIZED}
    chosen = [codec for codec in codecs if codec in found]  # the others ``measured_on`` names
    lines = []
    for file, here in by_file(rows).items():
        bytes_by = {codec: size(here.get(codec)) for codec in chosen}
        least = min(filter(None, bytes_by.values()), default=0)
        cells = []
        for codec, value in bytes_by.items():
            text = "" if value is None else str(value)
            if value is not None and value == least:
                text = f"**{text}**"
            if text and here[codec]["status"] == QUOTED:
                text = f"*{text}*"
            cells.append(text)
        lines.append([Path(file).name, next(iter(here.values()))["file_bytes"], *cells])
    return markdown(["file", "bytes", *(NAMES.get(c, c) for c in chosen)], lines)


def totals(rows: list[Row]) -> str:
    """One line a codec: all files together, the model counted and not, speed and memory."""
    files = len(by_file(rows))
    lines = [total_line(total, files) for total in summarise(rows) if total.files]
    head = ["codec", "files", "bytes", "bits/byte", "with the model", "MB/s in", "MB/s out"]
    return markdown([*head, "peak MB in", "peak MB out"], lines)


def total_line(total: Total, files: int) -> list[str]:
    def text(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    def speed(value: float | None) -> str:
        return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"

    return [
        NAMES.get(total.codec, total.codec),
        "all" if total.files == files else f"{total.files} of {files}",
        str(total.compressed_bytes),
        text(total.bits_per_byte, 3),
        text(total.bits_per_byte_with_model, 3),
        speed(total.compress_mb_s),
        speed(total.decompress_mb_s),
        text(total.compress_peak_mb, 0),
        text(total.decompress_peak_mb, 0),
    ]


def against(rows: list[Row], ours: str, peer: str) -> list[tuple[int, int, int]]:
    """Bytes of each file that both have: its own, ours, the peer's."""
    return [
        (int(here[ours]["file_bytes"]), a, b)
        for here in by_file(rows).values()
        if (a := size(here.get(ours))) is not None and (b := size(here.get(peer))) is not None
    ]


def claims(rows: list[Row]) -> str:
    """What the default level comes to against each peer, and where it is larger."""
    said = []
    for peer in ("xz:9e", "bzip3:16", "zpaq:5", "lpaq8:9", "mcm:h9", "paq8px:8"):
        common = against(rows, "nncodec", peer)
        counted = [(a, b) for n, a, b in common if n >= LARGE]
        smaller = 100 - 100 * sum(a for _, a, _ in common) / sum(b for *_, b in common)
        larger = sum(a > b for a, b in counted)
        where = f"larger on {larger}" if larger else "larger on none"
        said.append(f"{smaller:.1f} % smaller than {NAMES[peer]} ({where} of {len(counted)})")
    most = max(int(row["file_bytes"]) for row in rows)
    return (
        f"Of all test files of {LARGE // 1000} KB to {most / 1e6:.1f} MB that both were run on, "
        f"the default makes archives {'; '.join(said)}."
    )


def comparison(rows: list[Row]) -> str:
    """Ours against every peer on the files that both have: sums, and how often ours is larger."""
    peers = dict.fromkeys(row["codec"] for row in rows if not row["codec"].startswith("nncodec"))
    lines = []
    for ours in OURS:
        for peer in peers:
            common = against(rows, ours, peer)
            if not common:
                continue
            counted = [(a, b) for n, a, b in common if n >= LARGE]
            n, a, b = (sum(column) for column in zip(*common, strict=True))
            larger = sum(a > b for a, b in counted)
            names = [NAMES.get(ours, ours), NAMES.get(peer, peer)]
            lines.append(
                [*names, *map(str, (len(counted), larger, len(common), n, a, b)), f"{a / b:.4f}"]
            )
    head = ["", "peer", f"files of {LARGE} bytes and more", "larger there", "common files"]
    return markdown([*head, "bytes", "ours", "peer's", "ours / peer's"], lines)


def measured_on(rows: list[Row]) -> str:
    """Machine, versions and day of the rows that were measured, in one sentence."""
    measured = [row for row in rows if row["status"] == OK]
    machines = sorted({row["machine"] for row in measured})
    days = sorted({row["date"][:10] for row in measured})
    period = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    versions = dict.fromkeys(version(row) for row in measured)
    said = f"Measured on {' and '.join(machines)}, {period}{runs(measured)}: {', '.join(versions)}."
    for what, statuses in (("Not installed there", (QUOTED, ABSENT)), ("Failed there", (FAILED,))):
        codecs = dict.fromkeys(row["codec"] for row in rows if row["status"] in statuses)
        if codecs:
            said += f" {what}: {', '.join(NAMES.get(codec, codec) for codec in codecs)}."
    return said


def runs(measured: list[Row]) -> str:
    """Of how many runs the medians are; a slow codec may have had fewer."""
    counts = sorted({int(row["compress_runs"] or 1) for row in measured})
    if counts == [1]:
        return ", one run each"
    return f", medians of {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} runs"


def version(row: Row) -> str:
    """As the row has it, but ours with our name, and a program's without its template's hash."""
    own = row["codec"].split(":")[0] == "nncodec"
    said = row["codec_version"].partition(", template ")[0]
    return f"nncodec {said}" if own else said


# Document, mark, table.
PLACES: tuple[tuple[str, str, str, Callable[[list[Row]], str]], ...] = (
    ("README.md", "sizes", "readme", lambda rows: sizes(rows, SHORT)),
    ("README.md", "totals", "readme", totals),
    ("README.md", "machine", "readme", measured_on),
    ("README.md", "claims", "corpus", claims),
    ("docs/benchmarks.md", "all sizes", "corpus", lambda rows: sizes(rows, NAMES)),
    ("docs/benchmarks.md", "comparison", "corpus", comparison),
    ("docs/benchmarks.md", "machine", "corpus", measured_on),
)


def filled(text: str, mark: str, table: str) -> str:
    """``text`` with the table between its marks. Raises ValueError if they are not there."""
    found = re.subn(
        f"(<!-- {mark} -->\n).*?(\n<!-- /{mark} -->)",
        lambda match: f"{match[1]}{table}{match[2]}",
        text,
        flags=re.DOTALL,
    )
    if found[1] != 1:
        raise ValueError(f"there is not one place for {mark}")
    return found[0]


def fill(check: bool) -> list[str]:
    """Fill every place, or only say which are not as they should be."""
    stale = []
    for document, mark, name, make in PLACES:
        path = ROOT / document
        old = path.read_text(encoding="utf-8")
        new = filled(old, mark, make(rows_of(ROOT / "docs" / "results" / f"{name}.csv")))
        if new != old:
            stale.append(f"{document}: {mark}")
            if not check:
                path.write_text(new, encoding="utf-8")
    return stale


def show(folder: Path) -> None:
    rows = rows_of(folder / "readme.csv")
    made = [make(rows) for document, _, name, make in PLACES if (document, name) == README]
    print("\n\n".join(made))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--show", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.show:
        show(arguments.show)
        return
    stale = fill(arguments.check)
    print("\n".join(stale) or "nothing to change")
    sys.exit(bool(arguments.check and stale))


if __name__ == "__main__":
    main()
