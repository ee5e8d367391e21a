"""transformers finds our models, whichever of the two is imported first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TEXT, TINY, python_fails, run_python, tiny_float_model

from nncodec.lm.model import ByteTransformer

pytest.importorskip("transformers")

COMPARE = """
import sys, torch
torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
assert type(model).__name__ == "NNCodecForCausalLM"
text = bytes.fromhex(sys.argv[2])
tokens = torch.tensor([[256, *text]])
with torch.no_grad():
    out = model(input_ids=tokens, labels=tokens)
    again = model(tokens)
assert out.logits.shape == (1, len(text) + 1, 256) and torch.equal(out.logits, again.logits)
model.save_pretrained(sys.argv[3])
back = AutoModelForCausalLM.from_pretrained(sys.argv[3]).eval()
with torch.no_grad():
    assert torch.equal(back(tokens).logits, out.logits)
print(float(out.loss))
torch.save(out.logits, sys.argv[3] + "/logits.pt")
"""
ORDERS = {
    "nncodec first": "import nncodec; from transformers import AutoModelForCausalLM",
    "transformers first": "from transformers import AutoModelForCausalLM; import nncodec",
    "transformers begun": "import transformers, nncodec\n"
    "from transformers import AutoModelForCausalLM",
}


@pytest.mark.parametrize("imports", ORDERS.values(), ids=ORDERS)
def test_auto_model(
    imports: str, float_model: ByteTransformer, model_home: Path, tmp_path: Path
) -> None:
    result = run_python(imports + COMPARE, str(model_home / "tiny"), TEXT[:50].hex(), str(tmp_path))
    assert result.returncode == 0, python_fails(result)
    tokens = torch.tensor([[256, *TEXT[:50]]])
    with torch.no_grad():
        logits = float_model(tokens)
    ours = ByteTransformer.from_pretrained(tmp_path)  # what transformers saved
    with torch.no_grad():
        assert torch.equal(ours(tokens), logits)
    theirs = torch.load(tmp_path / "logits.pt", weights_only=True)
    assert torch.allclose(theirs, logits, atol=1e-5)
    chosen = logits.log_softmax(-1)[0, np.arange(50), list(TEXT[:50])]
    assert abs(float(result.stdout) + float(chosen.mean())) < 1e-4


def test_auto_model_with_tables(tmp_path: Path) -> None:
    """A model with n-gram tables goes through transformers as one without."""
    model = tiny_float_model(4, replace(TINY, ngram_orders=(2, 5), ngram_bits=5, ngram_width=6))
    model.save_pretrained(tmp_path / "grams")
    imports = ORDERS["transformers first"]
    args = str(tmp_path / "grams"), TEXT[:50].hex(), str(tmp_path / "out")
    result = run_python(imports + COMPARE, *args)
    assert result.returncode == 0, python_fails(result)
    tokens = torch.tensor([[256, *TEXT[:50]]])
    with torch.no_grad():
        logits = model(tokens)
        assert torch.equal(ByteTransformer.from_pretrained(tmp_path / "out")(tokens), logits)
    theirs = torch.load(tmp_path / "out" / "logits.pt", weights_only=True)
    assert torch.allclose(theirs, logits, atol=1e-5)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import nncodec
import transformers.models.auto.modeling_auto
"""


def test_transformers_without_torch_still_imports() -> None:
    result = run_python(WITHOUT_TORCH)
    assert result.returncode == 0, python_fails(result)
