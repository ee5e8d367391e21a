"""Sizes and seconds of files at some levels, beside other compressors: CSV, and a Markdown table.

usage: python scripts/measure_files.py --csv OUT.csv [--levels 1,6] [--verify] [--peers PEERS.csv]
           [--markdown] FILE|FOLDER...

One CSV row a file and level, written at once. Rows that are there already for a file (its path and
size), level and model id are kept, so a run that died goes on where it stopped; after a change of
the format start a new CSV. Sizes of peers come from PEERS.csv (columns file, bytes_in, tool,
bytes_out), where a file is known by its path or its bare name, and its size; xz -9e is measured
where it is not in there. Sizes are deterministic; seconds are those of this run (measure_speed.py
measures speed). --verify decompresses and compares.
"""

from __future__ import annotations

import argparse
import csv
import io
import lzma
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO, TypeAlias

import numpy as np

from nncodec import api
from nncodec.codec import Codec
from nncodec.decoding import decompress_stream
from nncodec.errors import NNCodecError
from nncodec.lanes import Coder
from nncodec.levels import LEVELS

XZ = "xz-9e"
PEERS = (
    XZ,
    "zstd-22",
    "brotli-11",
    "bzip3",
    "lpaq8-9",
    "zpaq-m5",
    "mcm-h9",
    "paq8px-8",
    "cmix-v21",
)
KEY = ("file", "bytes", "level", "model_id")
COLUMNS = (
    *KEY,
    *("nncodec", "bits_per_byte", "compress_s", "decompress_s", "verified"),
    *PEERS,
)
LARGE = 10_000  # bytes of the files that are counted: small ones are mostly headers

Row: TypeAlias = dict[str, str]  # as it stands in the CSV; nothing known: an empty string
Key: TypeAlias = tuple[str, ...]
Peers: TypeAlias = dict[tuple[str, int], Row]  # by a file's name and size: sizes by tool


def key_of(row: Row) -> Key:
    return tuple(row[column] for column in KEY)


def read_rows(path: Path) -> dict[Key, Row]:
    if not path.exists() or not path.stat().st_size:
        return {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            sys.exit(f"{path}: has other columns than this script writes; name a new file")
        rows = [row for row in reader if None not in row.values()]  # not a line that was cut
    return {key_of(row): row for row in rows}


def read_peers(path: Path | None) -> Peers:
    peers: Peers = {}
    if path:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                known = peers.setdefault((row["file"], int(row["bytes_in"])), {})
                known[row["tool"]] = row["bytes_out"]
    return peers


def files_below(tops: Iterable[Path]) -> Iterable[tuple[str, Path]]:
    """Name in the table, which starts with the folder that was asked for, and path."""
    for top in tops:
        found = sorted(p for p in top.rglob("*") if p.is_file()) if top.is_dir() else [top]
        for path in found:
            yield path.relative_to(top.parent).as_posix(), path


def load(level: int, model: str | None, threads: int | None) -> Codec:
    """A level's codec; ``model`` takes the place of the level's own where it has one."""
    return api.load_codec(level, model if LEVELS[level].model else None, threads)


def measure(data: bytes, codec: Codec, verify: bool) -> Row:
    begun = time.perf_counter()
    packed = codec.compress(np.frombuffer(data, dtype=np.uint8))
    row = {"nncodec": str(len(packed)), "compress_s": f"{time.perf_counter() - begun:.3f}"}
    row["bits_per_byte"] = f"{8 * len(packed) / max(1, len(data)):.4f}"
    if verify:

        def find_coder(model_id: bytes | None) -> Coder:
            if model_id == codec.model_id:
                return codec.coder
            return codec.contexts or api.load_coder(None)

        back = io.BytesIO()
        begun = time.perf_counter()
        decompress_stream(io.BytesIO(packed), back, find_coder)
        row["decompress_s"] = f"{time.perf_counter() - begun:.3f}"
        if back.getvalue() != data:
            raise NNCodecError("does not come back as it was")
        row["verified"] = "yes"
    return row


def peer_sizes(name: str, size: int, peers: Peers) -> Row:
    known = peers.get((name, size)) or peers.get((Path(name).name, size)) or {}
    return {tool: known.get(tool, "") for tool in PEERS}


def xz_size(data: bytes) -> str:
    return str(len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)))


def markdown(rows: list[Row], levels: list[int]) -> str:
    """A line a file, its smallest size in bold."""
    ours = [f"level {level}" for level in levels]
    tools = [tool for tool in PEERS if any(row[tool] for row in rows)]
    lines = table_head(["file", "bytes", *ours, *tools])
    by_file: dict[str, dict[str, str]] = {}
    for row in rows:
        sizes = by_file.setdefault(row["file"], {"bytes": row["bytes"]})
        sizes[f"level {row['level']}"] = row["nncodec"]
        sizes |= {tool: row[tool] for tool in tools if row[tool]}
    for name, sizes in by_file.items():
        smallest = min(int(size) for column, size in sizes.items() if column != "bytes")
        cells = [name, sizes["bytes"]]
        for column in (*ours, *tools):
            size = sizes.get(column, "")
            cells.append(f"**{size}**" if size == str(smallest) else size)
        lines.append(table_line(cells))
    return "\n".join(lines)


def comparison(rows: list[Row], levels: list[int]) -> str:
    """A line a level and peer: where the archive is larger, and the sums over common files."""
    large = f"of {LARGE} bytes and more"
    lines = table_head(
        ["level", "peer", f"files {large}", "archive larger", "common files", "bytes",
         "nncodec", "peer's", "nncodec / peer"]
    )  # fmt: skip
    for level in levels:
        for tool in PEERS:
            common = [row for row in rows if row["level"] == str(level) and row[tool]]
            counted = [row for row in common if int(row["bytes"]) >= LARGE]
            if common:
                worse = sum(int(row["nncodec"]) > int(row[tool]) for row in counted)
                size, ours, theirs = (sum_of(common, c) for c in ("bytes", "nncodec", tool))
                cells = (level, tool, len(counted), worse, len(common), size, ours, theirs)
                lines.append(table_line([*map(str, cells), f"{ours / theirs:.4f}"]))
    return "\n".join(lines)


def sum_of(rows: list[Row], column: str) -> int:
    return sum(int(row[column]) for row in rows)


def table_head(columns: list[str]) -> list[str]:
    left = ("file", "peer")
    return [
        table_line(columns),
        "|" + "|".join("---" if c in left else "--:" for c in columns) + "|",
    ]


def table_line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def level_list(text: str) -> list[int]:
    levels = [int(level) for level in text.split(",")]
    if not set(levels) <= set(LEVELS):
        raise argparse.ArgumentTypeError(f"levels are {min(LEVELS)} to {max(LEVELS)}")
    return levels


def open_rows(path: Path) -> TextIO:
    """The CSV, ready for the next row."""
    there = path.read_bytes() if path.exists() else b""
    file = path.open("a", newline="")
    if not there:
        csv.writer(file, lineterminator="\n").writerow(COLUMNS)
    elif not there.endswith(b"\n"):  # a run died in the middle of a row
        file.write("\n")
    return file


class Table:
    """The CSV's rows, those that a run asks for in ``rows``."""

    def __init__(self, path: Path, peers: Peers) -> None:
        self.kept, self.peers = read_rows(path), peers
        self.file = open_rows(path)
        self.rows: list[Row] = []

    def attempt(self, name: str, path: Path, codecs: dict[int, Codec], verify: bool) -> bool:
        """``add``, where a failure is a line that names the file."""
        try:
            self.add(name, path, codecs, verify)
        except (NNCodecError, OSError, MemoryError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return False
        return True

    def add(self, name: str, path: Path, codecs: dict[int, Codec], verify: bool) -> None:
        """Measure at every level that has no row yet. Raises OSError, NNCodecError, MemoryError."""
        data = path.read_bytes()
        sizes = peer_sizes(name, len(data), self.peers)
        for level, codec in codecs.items():
            model_id = codec.model_id.hex() if codec.model_id else "none"
            row = dict(zip(KEY, (name, str(len(data)), str(level), model_id), strict=True))
            old = self.kept.get(key_of(row))
            if old:
                sizes = {tool: sizes[tool] or old[tool] for tool in PEERS}
                self.rows.append({**old, **sizes})
                continue
            sizes[XZ] = sizes[XZ] or xz_size(data)
            row = {**dict.fromkeys(COLUMNS, ""), **row, **measure(data, codec, verify), **sizes}
            self.rows.append(row)
            csv.DictWriter(self.file, COLUMNS, lineterminator="\n").writerow(row)
            self.file.flush()
            print(name, f"level {level}", row["nncodec"], file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--levels", type=level_list, default=[1, 6], help="default: 1,6")
    parser.add_argument("-m", "--model", help="instead of the model of levels that have one")
    parser.add_argument("-T", "--threads", type=int, default=0)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    threads = arguments.threads or None
    try:
        codecs = {level: load(level, arguments.model, threads) for level in arguments.levels}
        table = Table(arguments.csv, read_peers(arguments.peers))
    except (NNCodecError, OSError) as error:
        sys.exit(str(error))
    named = files_below(arguments.paths)
    done = [table.attempt(name, path, codecs, arguments.verify) for name, path in named]
    verified = sum(row["verified"] == "yes" for row in table.rows)
    print(f"{len(table.rows)} rows, {verified} round trips verified", file=sys.stderr)
    if arguments.markdown and table.rows:
        levels = arguments.levels
        print(markdown(table.rows, levels), comparison(table.rows, levels), sep="\n\n")
    sys.exit(int(not all(done)))


if __name__ == "__main__":
    main()
