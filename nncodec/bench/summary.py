"""Totals of a benchmark by codec: what its rows come to, with the model counted and not.

Over bytes, not over files: a small file counts little. The model is counted once for all files,
as it is sent once. Figures of several machines do not add up: ``by_machine`` parts them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nncodec.bench.results import ABSENT, FAILED, SIZED, Row


@dataclass(frozen=True)
class Total:
    """A codec's sum over the files of which it has a size; None: not known."""

    codec: str
    files: int = 0
    bytes: int = 0
    compressed_bytes: int = 0
    model_bytes: int = 0  # once, not once a file; of each model if rows name several
    bits_per_byte: float | None = None
    bits_per_byte_with_model: float | None = None
    ratio: float | None = None  # the model not counted
    compress_mb_s: float | None = None  # bytes by summed medians; only if every file has a time
    decompress_mb_s: float | None = None
    compress_peak_mb: float | None = None  # the largest
    decompress_peak_mb: float | None = None
    baseline_pct: float | None = None  # of the baseline's bytes, on the files that both have
    absent: str = ""  # what is missing here
    failed: int = 0  # files


def summarise(rows: Iterable[Row]) -> list[Total]:
    """The total of each codec of one machine's rows, in the order in which codecs first appear."""
    by_codec = parted(rows, "codec")
    known = {codec: sizes(group) for codec, group in by_codec.items()}
    base = known.get(baseline([codec for codec in known if known[codec]]), {})
    return [total(codec, group, base) for codec, group in by_codec.items()]


def by_machine(rows: Iterable[Row]) -> dict[str, list[Row]]:
    return parted(rows, "machine")


def baseline(codecs: Sequence[str]) -> str:
    """What others are compared with: the first of nncodec, or the first; "" of none.

    ``codecs`` are those with a size of any file: what is absent compares with nothing.
    """
    ours = (c for c in codecs if c == "nncodec" or c.startswith("nncodec:"))
    return next(ours, codecs[0] if codecs else "")


def parted(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return groups


def sizes(rows: Iterable[Row]) -> dict[tuple[str, str], int]:
    """Compressed bytes by file, known by its name and hash."""
    return {
        (row["file"], row["file_sha256"]): int(row["compressed_bytes"])
        for row in rows
        if row["status"] in SIZED
    }


def total(codec: str, rows: Sequence[Row], base: dict[tuple[str, str], int]) -> Total:
    sized = [row for row in rows if row["status"] in SIZED]
    size = sum(int(row["file_bytes"]) for row in sized)
    packed = sum(int(row["compressed_bytes"]) for row in sized)
    models = {row["model_id"]: int(row["model_bytes"] or 0) for row in sized}
    model = sum(models.values())
    return Total(
        codec=codec,
        files=len(sized),
        bytes=size,
        compressed_bytes=packed,
        model_bytes=model,
        bits_per_byte=8 * packed / size if size else None,
        bits_per_byte_with_model=8 * (packed + model) / size if size else None,
        ratio=size / packed if size and packed else None,
        compress_mb_s=speed(sized, "compress_seconds"),
        decompress_mb_s=speed(sized, "decompress_seconds"),
        compress_peak_mb=largest(sized, "compress_peak_mb"),
        decompress_peak_mb=largest(sized, "decompress_peak_mb"),
        baseline_pct=against(sizes(sized), base),
        absent=next((row["detail"] for row in rows if row["status"] == ABSENT), ""),
        failed=sum(row["status"] == FAILED for row in rows),
    )


def speed(rows: Sequence[Row], column: str) -> float | None:
    """10^6 bytes a second of all files; None unless each was timed."""
    if not all(row[column] for row in rows):
        return None
    seconds = sum(float(row[column]) for row in rows)
    return sum(int(row["file_bytes"]) for row in rows) / seconds / 1e6 if seconds else None


def largest(rows: Sequence[Row], column: str) -> float | None:
    return max((float(row[column]) for row in rows if row[column]), default=None)


def against(ours: dict[tuple[str, str], int], base: dict[tuple[str, str], int]) -> float | None:
    common = ours.keys() & base.keys()
    theirs = sum(base[file] for file in common)
    return 100 * sum(ours[file] for file in common) / theirs if theirs else None
