"""Totals by codec: sums over bytes, models counted once, files in common with the baseline."""

from __future__ import annotations

from typing import Any

import pytest

from nncodec.bench.results import ABSENT, COLUMNS, FAILED, LENGTH, OK, QUOTED, Row
from nncodec.bench.summary import Total, baseline, by_machine, summarise


def row(file: str, codec: str, size: int, packed: int | None, **cells: Any) -> Row:
    known = {"file": file, "codec": codec, "file_bytes": size, "status": OK, "file_sha256": file}
    if packed is not None:
        known["compressed_bytes"] = packed
    return dict.fromkeys(COLUMNS, "") | {k: str(v) for k, v in (known | cells).items()}


def timed(compress: float, decompress: float, peak: float) -> dict[str, float]:
    return {
        "compress_seconds": compress,
        "decompress_seconds": decompress,
        "compress_peak_mb": peak,
        "decompress_peak_mb": peak / 2,
    }


def test_a_total_by_hand() -> None:
    model = {"model_bytes": 500, "model_id": "ab"}
    rows = [
        row("a", "nncodec", 1000, 100, **model, **timed(1, 2, 30)),
        row("b", "nncodec", 3000, 300, **model, **timed(3, 2, 20)),
    ]
    assert summarise(rows) == [
        Total(
            codec="nncodec",
            files=2,
            bytes=4000,
            compressed_bytes=400,
            model_bytes=500,
            bits_per_byte=0.8,
            bits_per_byte_with_model=1.8,
            ratio=10,
            compress_mb_s=0.001,
            decompress_mb_s=0.001,
            compress_peak_mb=30,
            decompress_peak_mb=15,
            baseline_pct=100,
        )
    ]


def test_the_baseline_is_compared_on_common_files_alone() -> None:
    rows = [
        row("a", "xz", 1000, 150),
        row("a", "nncodec:level=1", 1000, 100),
        row("b", "nncodec:level=1", 1000, 900),
        row("c", "xz", 1000, 999),
        row("c", "nncodec:level=1", 1000, None, status=FAILED),
        row("d", "gzip", 10, 10),
    ]
    xz, ours, gzip = summarise(rows)
    assert (xz.codec, xz.files, xz.baseline_pct) == ("xz", 2, 150)
    assert (ours.files, ours.failed, ours.baseline_pct) == (2, 1, 100)
    assert gzip.baseline_pct is None


@pytest.mark.parametrize("first", ["nncodec:none", "paq8px"])
def test_what_is_absent_is_no_baseline(first: str) -> None:
    rows = [
        row("a", first, 1000, None, status=ABSENT, detail="not here"),
        row("a", "xz", 1000, 200),
        row("a", "gzip", 1000, 300),
    ]
    assert [total.baseline_pct for total in summarise(rows)] == [None, 100, 150]


@pytest.mark.parametrize(
    ("codecs", "chosen"),
    [
        (["xz", "nncodec:level=9", "nncodec"], "nncodec:level=9"),
        (["xz", "nncodecs", "cmd:nncodec=x;y"], "xz"),
        ([], ""),
    ],
)
def test_the_baseline(codecs: list[str], chosen: str) -> None:
    assert baseline(codecs) == chosen


def test_a_speed_needs_every_file() -> None:
    rows = [
        row("a", "zpaq", 1000, 10, **timed(1, 1, 50)),
        row("b", "zpaq", 1000, 10, status=QUOTED),
        row("a", "online", 1000, 10, status=LENGTH, compress_seconds=2),
    ]
    zpaq, online = summarise(rows)
    assert (zpaq.bytes, zpaq.compress_mb_s, zpaq.compress_peak_mb) == (2000, None, 50)
    assert (online.compress_mb_s, online.decompress_mb_s) == (0.0005, None)


def test_codecs_without_a_size_stay() -> None:
    rows = [
        row("a", "paq8px", 1000, None, status=ABSENT, detail="no paq8px"),
        row("a", "cmd:x=y", 1000, None, status=FAILED, detail="other bytes"),
    ]
    assert summarise(rows) == [
        Total("paq8px", absent="no paq8px"),
        Total("cmd:x=y", failed=1),
    ]


def test_an_empty_file_has_no_bits_a_byte() -> None:
    (total,) = summarise([row("a", "gzip", 0, 20, **timed(0, 0, 1))])
    assert (total.files, total.bits_per_byte, total.ratio, total.compress_mb_s) == (1, *[None] * 3)
    assert total.compressed_bytes == 20


def test_two_models_of_one_codec_both_count() -> None:
    rows = [
        row("a", "nncodec", 1000, 100, model_bytes=500, model_id="ab"),
        row("b", "nncodec", 1000, 100, model_bytes=600, model_id="cd"),
        row("c", "nncodec", 1000, 100, model_bytes=600, model_id="cd"),
    ]
    assert summarise(rows)[0].model_bytes == 1100


def test_machines_are_parted() -> None:
    rows = [row("a", "gzip", 1, 1, machine=machine) for machine in ("m", "n", "m")]
    assert {name: len(group) for name, group in by_machine(rows).items()} == {"m": 2, "n": 1}
