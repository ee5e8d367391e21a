"""docs/streams.md: its examples run, one after the other, as a reader would type them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import python_fails, run_python

PAGE = Path(__file__).parent.parent / "docs" / "streams.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside an installed suite")
def test_the_examples(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 5
    result = run_python("\n".join(examples), cwd=tmp_path)
    assert result.returncode == 0, python_fails(result)
    assert {path.name for path in tmp_path.iterdir()} == {"log.nnc", "lines.nnc"}
