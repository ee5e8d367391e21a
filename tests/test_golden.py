"""Archives minted once by scripts/make_golden.py: they decode forever, and sizes do not drift.

A change that alters any archive shows here, and must be meant. ``golden_table`` says how each was
made; those of format 1 are what this release writes, format 0 is from before any release.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from golden_models import check_models
from golden_table import BY_NAME, GOLDEN, GOLDENS, Golden, blocks_of, engine_of, make

import nncodec
from nncodec.container import Kind
from nncodec.engine.native import available_isas
from nncodec.errors import EnvironmentMismatchError
from nncodec.parsing import each_frame
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import MODELLED
from nncodec.tensors.modes import choose_mode
from nncodec.tensors.planes import View

ROOT = Path(__file__).resolve().parent.parent
ISAS = available_isas()
WRITTEN = [golden for golden in GOLDENS if golden.written]
PORTABLE = [golden for golden in GOLDENS if golden.way != "of_floats"]


@pytest.fixture(scope="module", autouse=True)
def engines() -> Iterator[None]:
    """What the table keeps of them is let go in the end."""
    yield
    engine_of.cache_clear()


def decode(golden: Golden) -> bytes:
    archive = golden.path.read_bytes()
    return nncodec.decompress(archive, base=golden.base_bytes, model=golden.model_folder)


@pytest.mark.parametrize("golden", PORTABLE, ids=lambda golden: golden.name)
def test_golden_archives_decode(golden: Golden) -> None:
    assert decode(golden) == golden.bytes


def test_floats_decode_nowhere_but_where_they_were_made() -> None:
    with pytest.raises(EnvironmentMismatchError, match=r"0\.0\.golden there"):
        decode(BY_NAME["v1_tokens_floats"])


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_writes_the_golden_bytes(
    isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes from every kernel and thread count, and the ones that were minted."""
    monkeypatch.setenv("NNCODEC_ISA", isa)
    for golden in WRITTEN:
        if golden.brief or not golden.model or isa != "portable":  # whose networks are slow
            threads = 1 + ISAS.index(isa) % 2
            assert make(golden, threads) == golden.path.read_bytes(), golden.name


@pytest.mark.parametrize("name", ["v1_brief_mixed", "v1_brief_lanes", "v1_tokens_lanes"])
def test_threads_do_not_matter(name: str) -> None:
    assert {make(BY_NAME[name], threads) for threads in (1, 2, 3)} == {
        BY_NAME[name].path.read_bytes()
    }


def test_sizes_are_those_of_the_table() -> None:
    """A change of any size must be seen in a review: in sizes.csv."""
    with (GOLDEN / "sizes.csv").open(newline="") as file:
        rows = {row["archive"]: row for row in csv.DictReader(file)}
    assert list(rows) == [golden.path.name for golden in GOLDENS]
    assert sorted(rows) == sorted(path.name for path in GOLDEN.glob("*.nnc"))
    for golden in GOLDENS:
        row, archive = rows[golden.path.name], golden.path.read_bytes()
        assert int(row["bytes"]) == len(golden.bytes), golden.name
        assert int(row["archive_bytes"]) == len(archive), golden.name
        assert row["blocks"] == blocks_of(archive), golden.name


def test_all_kinds_dtypes_and_views_have_a_golden_archive() -> None:
    rows, modes = [], []
    for golden in WRITTEN:
        archive, at = io.BytesIO(golden.path.read_bytes()), 0
        for frame in each_frame(archive):
            archive.seek(frame.payload_size, io.SEEK_CUR)
            for row in frame.blocks:
                rows.append(row)
                for item in row.items if row.kind == Kind.TENSORS else ():
                    data = np.frombuffer(golden.bytes[at : at + item.size], np.uint8)
                    modes.append((item.dtype, choose_mode(item, data)))
                    at += item.size
                at += 0 if row.kind == Kind.TENSORS else row.size
    assert {row.kind for row in rows} == set(Kind)
    assert {dtype for dtype, _ in modes} >= MODELLED
    assert {mode.view for _, mode in modes} == set(View)
    assert {(d, m.twos) for d, m in modes if m.view == View.PACKED} == {
        (Dtype.U8, False),
        (Dtype.I8, True),
    }
    assert {(d, m.twos) for d, m in modes if m.view == View.GRID} == {
        (Dtype.F32, False),
        (Dtype.F16, True),
        (Dtype.BF16, False),
    }
    assert {(d, m.trellis) for d, m in modes if m.trellis} == {(Dtype.I8, 2), (Dtype.I16, 3)}


def test_samples_come_from_their_script(tmp_path: Path) -> None:
    """prose.txt is frozen, the others are generated: same seed, same bytes, on any Python."""
    script = ROOT / "scripts" / "make_samples.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    made = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "prose.txt"]
    assert len(made) == 11
    for path in made:
        assert path.read_bytes() == (ROOT / "corpora" / path.relative_to(tmp_path)).read_bytes()


def test_models_come_from_their_script() -> None:
    check_models()


# Spelled out, field by field, so that no file is needed to see what a release must read.
SPELLED = {
    "contexts": (
        *(1, None, b"a rose is a rose is a rose is a rose"),
        (
            "894e4e43 01 00 24 24"  # magic, versions, flags, total, block size: 36
            "04 0d f91b50d0878924be 0a"  # contexts, 13 bytes, checksum, a table of 2^10 lines
            "0f4424e1 814d75f32f53138dd37560e2d7"
        ),  # header checksum, payload
    ),
    "nano": (
        *(2, "nano"),
        b"It was the best of times, it was the worst of times, it was the age of wisdom.\n",
        (
            "894e4e43 01 01 828e4dd5815f6ff7b220e098f5c994a5 4f 4f"  # flags: a model; its id; 79
            "03 11 5c5c917da93f902b 01 00 0a"  # mixed, 17 bytes, checksum, a lane, no prefix, table
            "14aab511 4a96c277003b3d30f03587ad44908a4819"
        ),
    ),
}


@pytest.mark.parametrize("name", SPELLED)
def test_archives_in_hexadecimal(name: str) -> None:
    level, model, text, spelled = SPELLED[name]
    archive = bytes.fromhex(spelled)
    assert nncodec.decompress(archive) == text
    assert nncodec.compress(text, level, model=model) == archive


def test_manifest_is_current() -> None:
    script = ROOT / "scripts" / "make_manifest.py"
    subprocess.run([sys.executable, script, "--check"], check=True)


def test_the_worked_example_of_the_format_document() -> None:
    """docs/FORMAT.md spells out an archive byte by byte; it is the one that compress makes."""
    text = (ROOT / "docs" / "FORMAT.md").read_text("utf-8")
    lines = text.split("## Example")[1].split("## Changes")[0].splitlines()
    spelled = bytes.fromhex("".join(line[4:29] for line in lines if line.startswith("    ")))
    assert nncodec.compress(bytes(300_000)) == spelled
