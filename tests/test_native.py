"""The C++ headers under the address and undefined-behaviour sanitizers, without Python."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nncodec.engine.native import available_isas

FOLDER = Path(__file__).resolve().parent / "native"
CORE = FOLDER.parent.parent / "nncodec" / "csrc"  # of the source tree: wheels carry no C++ sources
FLAGS = ["-std=c++20", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-ffp-contract=off"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover"]
# gcc's own AVX-512 header trips its warnings of uninitialized values.
AVX512 = [*(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "vnni")),
          "-Wno-uninitialized", "-Wno-maybe-uninitialized"]  # fmt: skip
EMULATED = "-DNNCODEC_EMULATE_TILES"  # so that AMX is tested wherever AVX-512 is
KERNELS = {
    "portable": [],
    "avx2": ["-mavx2"],
    "avx512": AVX512,
    "amx": [*AVX512, EMULATED],
}
FUZZED = ("bytes", "range_coder", "contexts", "engine", "mixed", "tensors", "fields", "deltas")
CASES = FOLDER.parent / "fuzz" / "cases"
MUTATIONS = 300  # of each target's cases; fuzzers run millions (docs/robustness.md)
FIELDS = ("portable", "avx2", "avx512")  # kernels that the field coder has
FIELD_PARTS = ("cells", "choose", "coder", "plan", "streams", "tables")
ARM = "aarch64-linux-gnu-g++"
QEMU = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build with")


def run(*command: str | Path, returns: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == returns, done.stdout + done.stderr
    return done.stdout


def build(
    folder: Path,
    compiler: list[str],
    kernels: dict[str, list[str]],
    more: tuple[str, ...] = (),
) -> Path:
    """The engine's test program with these kernels, compiled side by side.

    And every fuzz target of ``more``, beside it under its own name.
    """
    sources = {CORE / f"forward_{name}.cc": flags for name, flags in kernels.items()}
    sources |= {CORE / f"field_{name}.cc": kernels[name] for name in kernels if name in FIELDS}
    others = (
        "engine",
        "isa",
        "block_coder",
        "context_mixer",
        "tensor_coder",
        "delta_coder",
        "tensor_planes",
        "tensor_blocks",
        "tensor_modes",
        "tensor_grid",
    )
    others += tuple(f"field_{part}" for part in FIELD_PARTS)
    sources |= {CORE / f"{name}.cc": [EMULATED] for name in others}
    core = [folder / f"{source.stem}.o" for source in sources]
    programs = {f"fuzz_{name}": [f"fuzz_{name}", "fuzz_replay"] for name in more}
    programs["engine"] = ["test_engine"]
    for stem in {stem for stems in programs.values() for stem in stems}:
        sources[FOLDER / f"{stem}.cc"] = []
    objects = [folder / f"{source.stem}.o" for source in sources]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [
            pool.submit(run, *compiler, *flags, "-c", source, "-o", out)
            for (source, flags), out in zip(sources.items(), objects, strict=True)
        ]
        for job in jobs:
            job.result()
    for name, stems in programs.items():
        own = [folder / f"{stem}.o" for stem in stems]
        run(*compiler, *core, *own, "-o", folder / name)
    return folder / "engine"


def test_coder_under_sanitizers(tmp_path: Path) -> None:
    program = tmp_path / "coder"
    run("g++", *FLAGS, *SANITIZE, f"-I{CORE}", FOLDER / "test_range_coder.cc", "-o", program)
    assert "payloads rejected" in run(program)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the kernels here are for x86-64")
def test_engine_under_sanitizers(tmp_path: Path) -> None:
    """Every instruction set of this machine, odd shapes: no bad access, and the same counts.

    Then the fuzz targets on what was kept and on mutations of it: no bad access, no wrong bytes.
    """
    program = build(tmp_path, ["g++", *FLAGS, *SANITIZE], KERNELS, FUZZED)
    # With AVX-512, tiles are emulated: the program must not pass by leaving AMX out.
    needed = ["amx"] if "avx512" in available_isas() else []
    assert "all paths agree" in run(program, *needed)
    for name in FUZZED:
        told = run(program.with_name(f"fuzz_{name}"), str(MUTATIONS), CASES / f"native_{name}.txt")
        assert f"and {MUTATIONS} mutations hold" in told


@pytest.mark.skipif(shutil.which(ARM) is None, reason=f"no {ARM} to build with")
@pytest.mark.skipif(QEMU is None, reason="no qemu-aarch64 to run with")
def test_neon_under_emulation(tmp_path: Path) -> None:
    kernels = {"portable": [], "neon": ["-march=armv8.2-a+dotprod"]}
    program = build(tmp_path, [ARM, *FLAGS, "-O2", "-static"], kernels)
    assert QEMU
    assert "all paths agree" in run(QEMU, "-cpu", "max", program, "neon")
    assert "neon is not available" in run_fails(QEMU, "-cpu", "cortex-a53", program, "neon")


def run_fails(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout
