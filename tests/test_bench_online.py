"""The codec ``online`` of the benchmark: its specs, and a length measured in a child process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TEXT

from nncodec.bench.codecs import AbsentError
from nncodec.bench.measure import Effort, measure
from nncodec.bench.specs import Settings, parse_spec
from nncodec.errors import BenchError
from nncodec.files import sha256
from nncodec.lm.online import online_code_length
from nncodec.lm.online_plan import plan_for

SETTINGS = Settings(threads=2)


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("online", "online"),
        ("online:seed=0", "online"),
        ("online:seed=7:network", "online:network:seed=7"),
        ("online:parameters=430000", "online"),
        ("online:parameters=100000:seed=2", "online:seed=2:parameters=100000"),
    ],
)
def test_specs(text: str, shortest: str) -> None:
    codec = parse_spec(text, SETTINGS)
    assert codec.spec == shortest
    assert parse_spec(shortest, SETTINGS) == codec
    assert not codec.archives
    assert codec.threads == "1"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("seeds=1", "no option 'seeds=1'; write online"),
        ("seed=-1", "no option"),
        ("seed=x", "no option"),
        ("parameters=79999", "must lie in 80000..100000000"),
        ("parameters=999999999", "must lie in"),
    ],
)
def test_specs_that_are_none(options: str, why: str) -> None:
    with pytest.raises(BenchError, match=why):
        parse_spec(f"online:{options}", SETTINGS)


def test_without_torch_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = parse_spec("online", SETTINGS)
    assert codec.probe().version.startswith("torch 2")
    assert codec.probe().model_bytes == 0
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AbsentError, match=r"no package torch: .*'nncodec-lm\[train\]'"):
        codec.probe()


def test_a_length_from_a_child_process(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(TEXT * 3)
    codec = parse_spec("online:parameters=80000", SETTINGS)
    result = measure(codec, path, sha256(path), Effort(runs=1, warm_up=0))
    plan = plan_for(3 * len(TEXT), parameters=80000)
    torch.set_num_threads(1)
    here = online_code_length(np.frombuffer(TEXT * 3, np.uint8), plan)
    assert result.compressed_bytes == len(here.payload) < len(TEXT)
    assert result.decompress is None
    assert result.compress.peak_bytes > 1 << 27
