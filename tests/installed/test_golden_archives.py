"""The golden archives, wherever the package is installed: they decode, and are made again, alike.

By this machine's best instruction set, the short ones. With NNCODEC_EVERY_ISA by every set that it
has: all of them ("whole", scripts/check_isas.sh), or of those with a network only the short ones
("brief", scripts/check_arm64.sh, where it is emulated), as by the portable kernels always. That is
minutes. ``test_golden`` of the repository has the others.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import nncodec
from nncodec import api
from nncodec._core import available_isas
from nncodec.container import VERSION

ROOT = Path(__file__).resolve().parent.parent.parent
GOLDEN, SAMPLES = ROOT / "tests" / "golden", ROOT / "corpora" / "samples"
EVERY_ISA = os.environ.get("NNCODEC_EVERY_ISA", "")
ISAS = available_isas() if EVERY_ISA else available_isas()[:1]
BRIEF = 16_000  # bytes; the largest is four times that
with (GOLDEN / "sizes.csv").open() as table:
    ROWS = [row | {"data": row.get("data") or row["sample"]} for row in csv.DictReader(table)]
# Of whole samples; what is cut from them or made otherwise is for the repository's own tests.
WHOLE = [row for row in ROWS if (SAMPLES / row["data"]).is_file()]
WRITTEN = [row for row in WHOLE if row["archive"].startswith(f"v{VERSION}_") and row["level"]]


def chosen(rows: list[dict[str, str]]) -> list[tuple[str, dict[str, str]]]:
    return [(isa, row) for isa in ISAS for row in rows if short(row) or not slow(isa, row)]


def short(row: dict[str, str]) -> bool:
    return int(row["bytes"]) <= BRIEF


def slow(isa: str, row: dict[str, str]) -> bool:
    return not EVERY_ISA or (bool(row["model"]) and (isa == "portable" or EVERY_ISA == "brief"))


def name(value: object) -> str:
    return value["archive"] if isinstance(value, dict) else str(value)


@pytest.fixture
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Engines of one instruction set only: those that are kept from before are dropped."""
    monkeypatch.setenv("NNCODEC_ISA", request.param)
    api.load_codec.cache_clear()
    api.load_coder.cache_clear()
    yield request.param
    api.load_codec.cache_clear()
    api.load_coder.cache_clear()


@pytest.mark.parametrize(("isa", "row"), chosen(WHOLE), ids=name, indirect=["isa"])
def test_it_decodes(isa: str, row: dict[str, str]) -> None:
    archive = (GOLDEN / row["archive"]).read_bytes()
    assert nncodec.decompress(archive) == (SAMPLES / row["data"]).read_bytes(), isa


@pytest.mark.parametrize(("isa", "row"), chosen(WRITTEN), ids=name, indirect=["isa"])
def test_it_is_made_again(isa: str, row: dict[str, str]) -> None:
    data = (SAMPLES / row["data"]).read_bytes()
    made = nncodec.compress(data, int(row["level"]), model=row["model"] or None)
    assert made == (GOLDEN / row["archive"]).read_bytes(), isa
