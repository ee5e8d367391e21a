"""Read first: every codec on every file, and the table that a later run completes.

    specs -> codecs (specs.py) -> each in child processes (measure.py, worker.py) -> rows (below)
          -> the table (results.py) -> totals (summary.py), the page (report/)

A row is kept if it was measured on this machine with the same version of the codec, and no fewer
times than it would be now; absent and failed ones are tried again. The table is saved after every
row, so a run that was killed goes on from there. Rows of other machines, codecs and files stay as
they are.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from nncodec.bench.codecs import AbsentError, Codec, Probe
from nncodec.bench.measure import CodecError, Effort, Measured, Side, measure
from nncodec.bench.results import (
    ABSENT,
    COLUMNS,
    FAILED,
    LENGTH,
    OK,
    QUOTED,
    Row,
    Table,
    key_of,
)
from nncodec.bench.specs import Settings, parse_spec
from nncodec.environment import environment
from nncodec.errors import BenchError, NNCodecError
from nncodec.files import sha256

MEASURED = (OK, LENGTH)
UNEVEN = 1.25  # by how much the runs of one row may differ from their median
QUOTE_COLUMNS = ("file", "bytes", "codec", "compressed_bytes", "source")
Save = Callable[[Row], None]


@dataclass(frozen=True)
class Input:
    """A file to be coded, and what it is called in the table."""

    name: str
    path: Path
    size: int
    digest: str


@dataclass(frozen=True)
class Quote:
    """A figure of somebody else's."""

    file: str
    size: int
    codec: str
    compressed_bytes: int
    source: str

    def matches(self, file: Input) -> bool:
        return self.size == file.size and self.file in (file.name, Path(file.name).name)


def open_input(top: str, path: str) -> Input:
    """A file that was given, or one below a folder that was. Raises OSError."""
    below = Path(path).relative_to(top).as_posix() if path != top else Path(path).name
    return Input(below, Path(path), Path(path).stat().st_size, sha256(Path(path)))


def read_quotes(path: Path, settings: Settings) -> list[Quote]:
    """Codecs that are known here by the same spec get its shortest form. Raises BenchError."""
    if path.exists() and not path.is_file():
        raise BenchError(f"cannot read {path}: no regular file")
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            lacking = [name for name in QUOTE_COLUMNS if name not in (reader.fieldnames or ())]
            if lacking:
                raise BenchError(f"{path} lacks the column {lacking[0]}")
            return [parse_quote(row, settings) for row in reader]
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BenchError(f"cannot read {path}: {why}") from error
    except (csv.Error, ValueError) as error:
        if isinstance(error, BenchError):
            raise
        raise BenchError(f"{path} is no table of quoted figures: {error}") from error


def parse_quote(row: Mapping[str, str | None], settings: Settings) -> Quote:
    """Raises ValueError."""
    name, codec, source = (row[column] or "" for column in ("file", "codec", "source"))
    size, packed = (int(row[column] or "") for column in ("bytes", "compressed_bytes"))
    if not name or not codec or size < 0 or packed < 0:
        raise ValueError(f"a row lacks something: {name},{size},{codec},{packed}")
    with suppress(NNCodecError):  # not one that runs here
        codec = parse_spec(codec, settings).spec
    return Quote(name, size, codec, packed, source)


class Bench:
    """The rows of a benchmark. ``table`` holds what is there; ``save`` is called for new rows."""

    def __init__(
        self,
        codecs: Sequence[Codec],
        effort: Effort,
        table: Table,
        save: Save,
        quotes: Sequence[Quote] = (),
        again: bool = False,
    ) -> None:
        self.codecs, self.effort, self.table, self.save = codecs, effort, table, save
        self.quotes, self.again = quotes, again
        self.here = environment()
        self.probes = {codec.spec: probe(codec) for codec in codecs}

    def rows(self, file: Input) -> Iterator[tuple[Row, bool]]:
        """The file's row of each codec, as soon as it is there, and whether it is new."""
        for codec in self.codecs:
            old = self.table.get(self.key(file, codec.spec))
            if old and not self.again and self.holds(old, codec):
                yield old, False
            else:
                yield self.add(self.row(file, codec)), True
        for quote in self.quotes:  # those of other codecs
            if quote.matches(file) and quote.codec not in self.probes:
                old = self.table.get(self.key(file, quote.codec))
                if old is None or old["status"] in (ABSENT, QUOTED):
                    fresh = self.quoted(file, quote)
                    yield (self.add(fresh), True) if fresh != old else (old, False)

    def key(self, file: Input, spec: str) -> tuple[str, ...]:
        return file.name, file.digest, spec, self.here["machine"]

    def add(self, row: Row) -> Row:
        self.table[key_of(row)] = row
        self.save(row)
        return row

    def holds(self, old: Row, codec: Codec) -> bool:
        """Whether a row says what measuring again would say."""
        found = self.probes[codec.spec]
        return (
            old["status"] in MEASURED
            and not isinstance(found, NNCodecError)
            and (old["codec_version"], old["model_id"]) == (found.version, found.model_id)
            and old["threads"] == codec.threads
            and all(self.often_enough(old, way) for way in ways_of(old["status"]))
        )

    def often_enough(self, old: Row, way: str) -> bool:
        """As many runs as asked, or as there was time for: a cut row is not cut anew each time."""
        seconds, runs = old[f"{way}_seconds"], old[f"{way}_runs"]
        if not seconds or not runs:
            return False
        return int(runs) >= self.effort.counted(UNEVEN * float(seconds))

    def row(self, file: Input, codec: Codec) -> Row:
        """Measure, or say why not."""
        found = self.probes[codec.spec]
        if isinstance(found, AbsentError):
            quote = next(
                (q for q in self.quotes if q.codec == codec.spec and q.matches(file)), None
            )
            if quote:
                return self.quoted(file, quote, f"{found}")
            return self.blank(file, codec.spec, ABSENT, f"{found}")
        if isinstance(found, NNCodecError):
            return self.blank(file, codec.spec, FAILED, f"{found}")
        about = {
            "codec_version": found.version,
            "model_bytes": str(found.model_bytes),
            "model_id": found.model_id,
            "threads": codec.threads,
            "load": load(),
            "date": now(),
            **self.here,
        }
        try:
            measured = measure(codec, file.path, file.digest, self.effort)
        except CodecError as error:
            return self.blank(file, codec.spec, FAILED, " ".join(str(error).split())) | about
        except OSError as error:  # of the folder that it is done in
            why = f"cannot be measured: {(error.strerror or str(error)).lower()}"
            return self.blank(file, codec.spec, FAILED, why) | about
        status = OK if measured.decompress else LENGTH
        return self.blank(file, codec.spec, status) | about | figures(file, found, measured)

    def quoted(self, file: Input, quote: Quote, absent: str = "") -> Row:
        detail = f"{quote.source}; absent here: {absent}" if absent else quote.source
        sizes = size_cells(file.size, quote.compressed_bytes, 0)
        # What a model's size was is not said, so nothing is said of it.
        sizes |= {"model_bytes": "", "bits_per_byte_with_model": ""}
        return self.blank(file, quote.codec, QUOTED, detail) | sizes

    def blank(self, file: Input, spec: str, status: str, detail: str = "") -> Row:
        return dict.fromkeys(COLUMNS, "") | {
            "file": file.name,
            "file_bytes": str(file.size),
            "file_sha256": file.digest,
            "codec": spec,
            "status": status,
            "detail": detail,
            "machine": self.here["machine"],
        }


def ways_of(status: str) -> tuple[str, ...]:
    return ("compress",) if status == LENGTH else ("compress", "decompress")


def probe(codec: Codec) -> Probe | NNCodecError:
    try:
        return codec.probe()
    except NNCodecError as error:
        return error


def figures(file: Input, found: Probe, measured: Measured) -> Row:
    return {
        **size_cells(file.size, measured.compressed_bytes, found.model_bytes),
        **side_cells("compress", file.size, measured.compress),
        **side_cells("decompress", file.size, measured.decompress),
    }


def size_cells(size: int, packed: int, model: int) -> Row:
    """Nothing has bits a byte where there is no byte."""
    return {
        "compressed_bytes": str(packed),
        "bits_per_byte": f"{8 * packed / size:.5f}" if size else "",
        "bits_per_byte_with_model": f"{8 * (packed + model) / size:.5f}" if size else "",
        "ratio": f"{size / packed:.5f}" if size and packed else "",
    }


def side_cells(which: str, size: int, side: Side | None) -> Row:
    if side is None:
        return {}
    speed = size / side.median / 1e6 if side.median else 0.0
    return {
        f"{which}_seconds": f"{side.median:.9f}",
        f"{which}_mb_s": f"{speed:.6g}" if speed else "",
        f"{which}_runs": str(len(side.seconds)),
        f"{which}_peak_mb": f"{side.peak_bytes / 1e6:.1f}" if side.peak_bytes else "",
    }


def load() -> str:
    try:
        return f"{os.getloadavg()[0]:.2f}"
    except (AttributeError, OSError):  # Windows
        return ""


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
