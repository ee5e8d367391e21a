"""The table of a benchmark: one row for each file and codec, on each machine.

Rows are kept by what was measured and where: a run replaces its own rows and leaves those of other
machines, codecs and files alone. The file is replaced after every row, so a run that was killed has
lost nothing but the row it was at.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from nncodec.errors import BenchError
from nncodec.files import atomic_file

# What came of a row. Sizes are there for OK, LENGTH and QUOTED, speeds for OK and LENGTH.
OK = "ok"  # an archive, decompressed and compared
LENGTH = "length"  # a code length: no archive can be made of it
QUOTED = "quoted"  # a figure of somebody else's; ``detail`` says whose
ABSENT = "absent"  # not installed here; ``detail`` says what is missing
FAILED = "failed"  # ``detail`` says how: other bytes after the round trip, an error, a time limit
SIZED = (OK, LENGTH, QUOTED)

KEY = ("file", "file_sha256", "codec", "machine")
COLUMNS = (
    "file",  # its path below the folder that was given, or its bare name
    "file_bytes",
    "file_sha256",
    "codec",  # the spec, in its shortest form
    "codec_version",
    "status",
    "detail",
    "compressed_bytes",
    "model_bytes",  # of weights or dictionaries that the other side must have, too; 0: none
    "model_id",
    "bits_per_byte",
    "bits_per_byte_with_model",  # the model counted with this file
    "ratio",  # bytes in to bytes out, the model not counted
    "compress_seconds",  # medians
    "decompress_seconds",
    "compress_mb_s",  # of 10^6 bytes of the file
    "decompress_mb_s",
    "compress_runs",  # counted ones; warm-ups are not
    "decompress_runs",
    "compress_peak_mb",  # resident memory of the whole process, 10^6 bytes
    "decompress_peak_mb",
    "threads",
    "load",  # of the machine, a minute before the row: processes that wanted a core
    "date",  # UTC
    "version", "machine", "cpu", "cores", "memory_gb", "isa", "system", "python",
)  # fmt: skip

Row = dict[str, str]  # as it stands in the CSV; nothing known: an empty string
Key = tuple[str, ...]
Table = dict[Key, Row]  # in the order in which rows were first written


def key_of(row: Mapping[str, str]) -> Key:
    return tuple(row[name] for name in KEY)


def read_results(path: Path) -> Table:
    """The rows at ``path``, none if there is no file.

    Raises BenchError if it is no table of a benchmark or a row was cut, OSError if it cannot be
    read.
    """
    if not path.exists() or not path.stat().st_size:
        return {}
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise BenchError(f"{path} is no table of nncodec bench: it lacks {missing[0]}")
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise BenchError(
                        f"{path}: line {reader.line_num} has not as many cells as the first; "
                        "it was cut: take it out"
                    )
                rows.append({name: row[name] for name in COLUMNS})
    except csv.Error as error:
        raise BenchError(f"{path} is no CSV: {error}") from error
    return {key_of(row): row for row in rows}


def write_results(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Replace the CSV at ``path``. Raises NNCodecError if it cannot be written."""
    lines = [csv_line(COLUMNS), *(csv_line([row[name] for name in COLUMNS]) for row in rows)]
    try:
        with atomic_file(path) as file:
            file.write("".join(lines).encode("utf-8", "surrogateescape"))
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise BenchError(f"cannot write {path}: {why}") from error


def csv_line(cells: Iterable[str]) -> str:
    """Ends in a newline alone; told so, the writer would leave carriage returns unquoted."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"
