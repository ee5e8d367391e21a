"""The C++ headers under the address and undefined-behaviour sanitizers, without Python."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import nncodec

SOURCE = Path(__file__).parent / "native" / "test_range_coder.cc"
HEADERS = Path(nncodec.__file__).parent / "csrc"
FLAGS = [
    "-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
    "-fsanitize=address,undefined", "-fno-sanitize-recover",
]  # fmt: skip


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")
@pytest.mark.skipif(not HEADERS.is_dir(), reason="an installed wheel carries no C++ sources")
def test_core_under_sanitizers(tmp_path: Path) -> None:
    program = tmp_path / "test_range_coder"
    build = ["g++", *FLAGS, f"-I{HEADERS}", str(SOURCE), "-o", str(program)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    result = subprocess.run([program], capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "payloads rejected" in result.stdout
