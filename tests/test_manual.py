"""What stands beside the command: its manual pages and what completes its words in shells."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs" / "man").glob("*.1"))
BASH = ROOT / "docs" / "completions" / "bash-completion" / "completions" / "nncodec"


def run(*command: str | Path, **kwargs: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return str(done.stdout)


@pytest.mark.parametrize("script", ["make_man.py", "make_completions.py"])
def test_what_is_generated_is_current(script: str) -> None:
    run(sys.executable, ROOT / "scripts" / script, "--check")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc to check with")
def test_pages_are_clean(page: Path) -> None:
    assert run("mandoc", "-Tlint", "-Wall", page) == ""
    text = re.sub(".\b", "", run("mandoc", "-Tascii", "-O", "width=80", page))  # no overstriking
    for section in ("NAME", "SYNOPSIS", "OPTIONS"):
        assert f"\n{section}\n" in text


@pytest.fixture
def command(tmp_path: Path) -> dict[str, str]:
    """An environment whose ``nncodec`` is this very package."""
    script = tmp_path / "bin" / "nncodec"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom nncodec.cli import main\nmain()\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}


def completed(command: dict[str, str], line: str, folder: Path) -> list[str]:
    """What bash makes of a line that ends where TAB is pressed."""
    words = line.split(" ")
    code = f"""
        source {BASH}
        [[ $(complete -p nncodec) == *"-F _nncodec_completion"* ]] || exit 3
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}) COMP_CWORD={len(words) - 1}
        _nncodec_completion nncodec '{words[-1]}' '{words[-2]}'
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    out = run("bash", "--norc", "-c", code, env=command, cwd=folder)
    return [word for word in out.split("\n") if word]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash to complete in")
def test_completion_in_bash(command: dict[str, str], tmp_path: Path) -> None:
    assert {"compress", "decompress", "info"} <= set(completed(command, "nncodec ", tmp_path))
    assert completed(command, "nncodec dec", tmp_path) == ["decompress"]
    assert "--level" in completed(command, "nncodec compress --le", tmp_path)
    assert completed(command, "nncodec models ver", tmp_path) == ["verify"]
    # A file's name is left to bash: "complete -o default".
    assert completed(command, "nncodec compress no", tmp_path) == []


def test_completion_is_shown(command: dict[str, str]) -> None:
    shown = run("nncodec", "--show-completion", "bash", env=command)
    assert "_nncodec_completion" in shown
