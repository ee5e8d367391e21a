"""The source distribution, and the wheel that is built from it, in an environment of their own.

Building takes minutes, so only with NNCODEC_BUILD_WHEEL set; the suite runs on an installed wheel
anyway (scripts/test.sh). What the source distribution holds is looked at always.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
BACKEND = "scikit_build_core.build"
WANTED = "NNCODEC_BUILD_WHEEL"
FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
        cwd=cwd,
        env=env | variables,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked. Of the files that git knows: a build must not depend on what else lies about."""
    folder = tmp_path_factory.mktemp("sdist")
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository to take the sources from")
    names = run("git", "ls-files", "-z", "--cached").split("\0")
    source = folder / "source"
    for name in names:
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    code = f"import {BACKEND} as b; print(b.build_sdist({str(folder)!r}))"
    name = run(sys.executable, "-c", code, cwd=source).split()[-1]
    with tarfile.open(folder / name) as archive:
        archive.extractall(
            folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
        )
    return folder / name.removesuffix(".tar.gz")


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_sdist_has_what_builds_and_checks_it(sdist: Path) -> None:
    names = below(sdist)
    tracked = set(run("git", "ls-files", "nncodec").split())
    assert tracked <= names, "the package, C++ and all"
    assert {"pyproject.toml", "LICENSE", "README.md", "PKG-INFO", "constraints.txt"} <= names
    assert {f"models/{name}/engine.safetensors" for name in ("nano", "small")} <= names
    assert {"docs/FORMAT.md", "docs/man/nncodec.1", "tests/golden/sizes.csv"} <= names
    assert set(run("git", "ls-files", "tests/installed", "corpora/samples").split()) <= names


def test_sdist_has_nothing_else(sdist: Path) -> None:
    names = below(sdist)
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    assert not [
        name for name in names if name.startswith("models/") and name.endswith("/model.safetensors")
    ]
    allowed = (
        "nncodec/",
        "models/",
        "docs/",
        "tests/installed/",
        "tests/golden/",
        "corpora/samples/",
    )
    assert not [name for name in names if "/" in name and not name.startswith(allowed)]
    assert sum((sdist / name).stat().st_size for name in names) < 20 << 20


@pytest.mark.skipif(
    not os.environ.get("NNCODEC_BUILD_WHEEL"),
    reason="minutes of compiling: set NNCODEC_BUILD_WHEEL",
)
def test_wheel_in_an_empty_environment(sdist: Path, tmp_path: Path) -> None:
    """Of the source distribution, not the tree; with the core packages and pytest, no others."""
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, sdist)
    (wheel,) = tmp_path.glob("nncodec_lm-*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    constraints = ROOT / "constraints.txt"
    run(python, "-m", "pip", "install", "-q", "-c", constraints, wheel, "pytest")
    tests = sdist / "tests" / "installed"
    out = run(
        *(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", sdist / "pyproject.toml"),
        *(f"--confcutdir={tests}", tests),
        cwd=tmp_path,
    )
    assert " passed" in out
    assert "skipped" not in out
    assert "torch" not in run(python, "-m", "pip", "list")
