"""The record of what a measurement was made on."""

from __future__ import annotations

from pathlib import Path

import pytest

import nncodec
from nncodec import environment
from nncodec._core import available_isas


def test_record() -> None:
    found = environment.environment()
    assert found["version"] == nncodec.__version__
    assert found["isa"] in available_isas()
    assert int(found["cores"]) >= 1
    assert found["machine"] == f"{found['cpu']}, {found['cores']} cores, {found['isa']}"
    assert all(value for value in found.values())


def test_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A  Fast (R) One\nmodel name\t: another\n")
    monkeypatch.setattr(environment, "CPUINFO", info)
    assert environment.processor() == "A Fast (R) One"
    info.write_text("processor\t: 0\n")
    assert environment.processor()
