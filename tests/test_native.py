"""The C++ headers under the address and undefined-behaviour sanitizers, without Python."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent / "native"
CORE = FOLDER.parent.parent / "nncodec" / "csrc"  # of the source tree: wheels carry no C++ sources
FLAGS = [
    "-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread",
    "-ffp-contract=off", "-fopenmp-simd",
    "-fsanitize=address,undefined", "-fno-sanitize-recover",
]  # fmt: skip
AVX512 = ["f", "bw", "vl", "dq", "vnni"]
KERNELS = {
    "portable": [],
    "avx2": ["-mavx2"],
    "avx512": [*(f"-mavx512{part}" for part in AVX512), "-Wno-maybe-uninitialized"],
}

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build with")


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_coder_under_sanitizers(tmp_path: Path) -> None:
    program = tmp_path / "coder"
    run("g++", *FLAGS, f"-I{CORE}", FOLDER / "test_range_coder.cc", "-o", program)
    assert "payloads rejected" in run(program)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels here are for x86-64")
def test_engine_under_sanitizers(tmp_path: Path) -> None:
    """Every instruction set of this machine, odd shapes: no bad access, and the same counts."""
    objects = []
    for name, flags in KERNELS.items():
        objects.append(tmp_path / f"{name}.o")
        run("g++", *FLAGS, *flags, "-c", CORE / f"forward_{name}.cc", "-o", objects[-1])
    program = tmp_path / "engine"
    run("g++", *FLAGS, FOLDER / "test_engine.cc", CORE / "engine.cc", *objects, "-o", program)
    assert "all paths agree" in run(program)
