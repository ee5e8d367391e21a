"""What an import costs and whom it collides with. Each test needs a fresh interpreter."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from helpers import TEXT, constant_archive, python_fails, run_python
from safetensors.numpy import save_file

import nncodec

REPORT = "; import sys; print([m for m in ('torch', 'transformers', 'rich') if m in sys.modules])"
CALL = "import sys; from nncodec.cli.app import app; app(sys.argv[1:], standalone_mode=False)"


def test_import_is_light() -> None:
    result = run_python("import nncodec" + REPORT)
    assert (result.returncode, result.stdout) == (0, b"[]\n"), python_fails(result)


def test_files_and_streams_are_imported_when_they_are_used() -> None:
    code = (
        "import nncodec, sys\n"
        "lazy = [f'nncodec.{m}' for m in ('fileobject', 'streaming', 'reader')]\n"
        "assert not any(name in sys.modules for name in lazy)\n"
        "from nncodec import *\n"
        "assert open is nncodec.open is sys.modules['nncodec.fileobject'].open\n"
        "assert nncodec.Compressor and Decompressor and NNCodecFile\n"
    )
    result = run_python(code)
    assert result.returncode == 0, python_fails(result)


COMMANDS = [
    ["--help"],
    ["info", "stored.nnc"],
    ["info", "--engine"],
    ["models", "--json"],
    ["models", "show", "tiny"],
    ["models", "verify", "tiny"],
    ["compress", "-m", "tiny", "text", "-o", "new.nnc"],
    ["decompress", "coded.nnc", "-o", "back"],
    ["test", "coded.nnc"],
    ["bench", "--engine", "-m", "tiny", "--bytes", "40", "--runs", "1"],
    ["bench", "text", "--codecs", "gzip,nncodec:tiny", "--runs", "1"],
    ["weights", "quantize", "weights.safetensors", "-o", "q.nnc", "--step", "0.1", "-l", "1"],
    ["weights", "report", "weights.safetensors"],
    ["sweep", "--help"],
]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_only_training_imports_torch(tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "stored.nnc").write_bytes(constant_archive(b"aaa"))
    (tmp_path / "text").write_bytes(TEXT)
    save_file({"w": np.ones((64, 64), np.float32)}, tmp_path / "weights.safetensors")
    (tmp_path / "coded.nnc").write_bytes(nncodec.compress(TEXT, model="tiny"))
    result = run_python(CALL + REPORT, *args, cwd=tmp_path)
    assert result.returncode == 0, python_fails(result)
    loaded = result.stdout.splitlines()[-1]
    assert b"torch" not in loaded
    assert b"transformers" not in loaded


def install_namesake(folder: Path) -> dict[str, str]:
    """An environment in which Fraunhofer's distribution is installed beside ours."""
    info = folder / "nncodec-2.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nncodec\nVersion: 2.1.0\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


def test_namesake_is_rejected(tmp_path: Path) -> None:
    code = "try:\n import nncodec\nexcept ImportError as error:\n print(error)"
    result = run_python(code, env=install_namesake(tmp_path))
    message = result.stdout.decode()
    assert "'nncodec' 2.1.0" in message, python_fails(result)
    assert "'nncodec-lm'" in message
    assert "pip uninstall" in message


def test_our_own_distribution_is_no_namesake(tmp_path: Path) -> None:
    info = tmp_path / "nncodec_lm-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nncodec-lm\nVersion: 9.9\n")
    result = run_python("import nncodec", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert result.returncode == 0, python_fails(result)
