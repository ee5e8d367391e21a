"""What a process leaves behind that used an engine for an archive of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers import python_fails, run_python
from safetensors.numpy import save

import nncodec


def test_engines_end_with_the_interpreter(tmp_path: Path) -> None:
    """nanobind complains on stderr about what is alive at the end."""
    notes = {f"note {i}": "It is a truth that every programmer learns late" for i in range(9)}
    data = save({"w": np.ones((30, 30), np.float32)}, notes)
    (tmp_path / "m.nnc").write_bytes(nncodec.compress(data, model="tiny"))
    assert nncodec.info((tmp_path / "m.nnc").read_bytes()).models
    code = "import nncodec; print(nncodec.weights.open('m.nnc')['w'].sum())"
    result = run_python(code, cwd=tmp_path)
    assert (result.stdout, result.stderr) == (b"900.0\n", b""), python_fails(result)
