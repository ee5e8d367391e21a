"""Archives minted once by scripts/make_golden.py: they decode forever, and sizes do not drift.

A change that alters any archive of the shipped model shows here, and must be meant. Those of
format 1 are what this release writes; format 0 is from before any release. Archives without a level
in sizes.csv are of the model alone, as no level writes them any more.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nncodec
from nncodec import modelstore
from nncodec.codec import Codec
from nncodec.container import VERSION
from nncodec.engine.native import NativeContexts, NativeEngine, available_isas
from nncodec.levels import LEVELS

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
SAMPLES = ROOT / "corpora" / "samples"
with (GOLDEN / "sizes.csv").open() as table:
    ROWS = list(csv.DictReader(table))
WRITTEN = [row for row in ROWS if row["archive"].startswith(f"v{VERSION}_")]
MODELS = sorted({row["model"] for row in ROWS if row["model"]})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["archive"])
def test_golden_archives_decode(row: dict[str, str]) -> None:
    archive = (GOLDEN / row["archive"]).read_bytes()
    sample = (SAMPLES / row["sample"]).read_bytes()
    assert (len(sample), len(archive)) == (int(row["bytes"]), int(row["archive_bytes"]))
    assert nncodec.decompress(archive) == sample
    assert nncodec.info(archive).blocks == {row["block"]: 1}


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("threads", [1, 2])
def test_every_instruction_set_writes_the_golden_bytes(isa: str, threads: int) -> None:
    """The same bytes from every kernel and thread count, and the ones that were minted."""
    models = {name: modelstore.find(name) for name in MODELS}
    engines = {name: NativeEngine(weights, threads, isa) for name, weights in models.items()}
    for row in WRITTEN:
        if row["model"] and (isa != "portable" or int(row["bytes"]) < 25_000):  # portable is slow
            data = (SAMPLES / row["sample"]).read_bytes()
            engine, model_id = engines[row["model"]], models[row["model"]].model_id
            if row["level"]:
                plan = LEVELS[int(row["level"])]
                codec = Codec(
                    *(engine, model_id, plan.lanes, plan.table_bits),
                    contexts=NativeContexts(),
                    lane_bytes=plan.lane_bytes,
                )
            else:
                codec = Codec(engine, model_id, table_bits=0)
            golden = (GOLDEN / row["archive"]).read_bytes()
            assert codec.compress(np.frombuffer(data, dtype=np.uint8)) == golden, row["archive"]


@pytest.mark.parametrize("isa", available_isas())
def test_context_models_write_the_golden_bytes(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNCODEC_ISA", isa)
    for row in WRITTEN:
        if not row["model"]:
            data = (SAMPLES / row["sample"]).read_bytes()
            golden = (GOLDEN / row["archive"]).read_bytes()
            assert nncodec.compress(data, int(row["level"])) == golden, row["archive"]


def test_samples_come_from_their_script(tmp_path: Path) -> None:
    """prose.txt is frozen, the others are generated: same seed, same bytes, on any Python."""
    script = ROOT / "scripts" / "make_samples.py"
    subprocess.run([sys.executable, script, tmp_path], check=True)
    for path in tmp_path.iterdir():
        if path.name != "prose.txt":
            assert path.read_bytes() == (SAMPLES / path.name).read_bytes(), path.name


def test_manifest_is_current() -> None:
    script = ROOT / "scripts" / "make_manifest.py"
    subprocess.run([sys.executable, script, "--check"], check=True)


def test_the_worked_example_of_the_format_document() -> None:
    """docs/FORMAT.md spells out an archive byte by byte; it is the one that compress makes."""
    text = (ROOT / "docs" / "FORMAT.md").read_text("utf-8")
    lines = text.split("## Example")[1].split("## Changes")[0].splitlines()
    spelled = bytes.fromhex("".join(line[4:29] for line in lines if line.startswith("    ")))
    assert nncodec.compress(bytes(300_000)) == spelled
