"""Transformers' models straight from packed folders: logits bit for bit, strict keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from helpers import python_fails, run_python
from test_weights_pack import tree

from nncodec.errors import (
    CorruptDataError,
    FolderError,
    InvalidModelError,
    MissingPackageError,
)
from nncodec.weights import from_packed, pack, unpack
from nncodec.weights.folder import Done


def tiny_llama(tied: bool = True, **options: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": 96,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 11,  # so that layer 10 comes before layer 2
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(5)
    return LlamaForCausalLM(LlamaConfig(**{**shape, **options}))


TOKENS = torch.arange(40)[None] * 7 % 96


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(TOKENS).logits
    return result


@pytest.fixture
def quiet_transformers() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


@pytest.mark.usefixtures("quiet_transformers")
@pytest.mark.parametrize(
    ("tied", "shard", "dtype"),
    [(True, "1GB", torch.float32), (False, "60KB", torch.bfloat16), (True, "40KB", torch.float16)],
)
def test_models_are_those_of_the_folder(
    tmp_path: Path, tied: bool, shard: str, dtype: torch.dtype
) -> None:
    from transformers import AutoModelForCausalLM

    source, packed = tmp_path / "model", tmp_path / "model.nnc-dir"
    tiny_llama(tied).to(dtype).save_pretrained(source, max_shard_size=shard)
    shards = len(list(source.glob("*.safetensors")))
    assert (shards > 1) == (shard != "1GB")
    assert (source / "generation_config.json").is_file()
    done = pack(source, level=1)
    assert len(done) == shards
    assert not list(packed.glob("*.safetensors"))
    model = from_packed(packed)
    reference = AutoModelForCausalLM.from_pretrained(source)
    assert type(model) is type(reference)
    assert model.dtype == reference.dtype == dtype
    assert not model.training
    assert torch.equal(logits(model), logits(reference))
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert model.generation_config.to_dict() == reference.generation_config.to_dict()
    wide = from_packed(packed, dtype=torch.float64)
    assert torch.equal(
        logits(wide), logits(AutoModelForCausalLM.from_pretrained(source, dtype=torch.float64))
    )
    unpack(packed, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(source)


@pytest.mark.usefixtures("quiet_transformers")
def test_models_of_torch_checkpoints(tmp_path: Path) -> None:
    """Names and ties as torch.save has them; the class is not a causal one."""
    from transformers import AutoModel, BertConfig, BertModel

    source = tmp_path / "model"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(1)
    bert = BertModel(BertConfig(vocab_size=60, intermediate_size=40, **sizes))
    bert.save_pretrained(source)
    (source / "model.safetensors").unlink()
    torch.save(bert.state_dict(), source / "pytorch_model.bin")
    pack(source, tmp_path / "out", level=1)
    model = from_packed(tmp_path / "out")
    reference = AutoModel.from_pretrained(source)
    assert type(model) is BertModel
    tokens = torch.arange(30)[None]
    with torch.no_grad():
        assert torch.equal(model(tokens).last_hidden_state, reference(tokens).last_hidden_state)


@pytest.mark.usefixtures("quiet_transformers")
def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    model = tiny_llama(tied=False)
    state = {name: t.clone() for name, t in model.state_dict().items()}
    source, out = tmp_path / "model", tmp_path / "out"
    model.config.save_pretrained(source)

    def repacked(tensors: dict[str, torch.Tensor]) -> Path:
        safetensors.torch.save_file(tensors, source / "model.safetensors", {"format": "pt"})
        pack(source, out, level=1, force=True)
        return out

    assert torch.equal(logits(from_packed(repacked(state))), logits(model.eval()))
    fewer = {n: t for n, t in state.items() if "layers.3.mlp" not in n}
    with pytest.raises(InvalidModelError, match=r"lack model\.layers\.3\.mlp\.down_proj\.weight"):
        from_packed(repacked(fewer))
    loose, report = from_packed(out, strict=False, output_loading_info=True)
    assert len(report["missing_keys"]) == 3
    assert torch.equal(loose.lm_head.weight, state["lm_head.weight"])
    with pytest.raises(InvalidModelError, match=r"no place for: more\.of\.it"):
        from_packed(repacked({**state, "more.of.it": torch.ones(3)}))
    with pytest.raises(InvalidModelError, match=r"another shape for lm_head\.weight"):
        from_packed(repacked({**state, "lm_head.weight": torch.ones(96, 31)}))


@pytest.mark.usefixtures("quiet_transformers")
def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    source, out = tmp_path / "model", tmp_path / "out"
    tiny_llama().save_pretrained(source, max_shard_size="40KB")
    with pytest.raises(FolderError, match=r"no config\.json"):
        from_packed(tmp_path)
    with pytest.raises(FolderError, match=r"safetensors\.nnc is missing"):
        from_packed(source)
    pack(source, out, level=1)
    index = out / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    for text, why in (
        ("[]", "is no index"),
        ("{", "is no index"),
        ('{"weight_map": {}}', "names no shards"),
        ('{"weight_map": {"a": "../model/x"}}', "no file's name"),
        ('{"weight_map": {"a": 1, "b": "x"}}', "is no index|no file's name"),
    ):
        index.write_text(text)
        with pytest.raises(FolderError, match=why):
            from_packed(out)
    index.write_text(json.dumps(good))
    shards = sorted(out.glob("*.nnc"))
    whole = shards[1].read_bytes()
    shutil.copy(shards[0], shards[1])
    with pytest.raises(FolderError, match="as another shard does"):
        from_packed(out)
    shards[1].write_bytes(whole[:-3])
    with pytest.raises(CorruptDataError):
        from_packed(out)
    shards[1].write_bytes(whole)
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "architectures": ["None"]}))
    assert type(from_packed(out)).__name__ == "LlamaForCausalLM"
    index.unlink()
    with pytest.raises(FolderError, match="holds none of"):
        from_packed(out)
    (out / "model.safetensors").write_bytes(b"")
    with pytest.raises(FolderError, match="pack it"):
        from_packed(out)


def test_without_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "import nncodec\n"
        "try: nncodec.weights.from_packed('.')\n"
        "except nncodec.NNCodecError as error: print(type(error).__name__, error)\n"
    )
    result = run_python(code, cwd=tmp_path)
    expected = f"{MissingPackageError.__name__} needs transformers: install it with pip install"
    assert result.stdout.decode().startswith(expected), python_fails(result)


@pytest.mark.weights
@pytest.mark.usefixtures("quiet_transformers")
def test_real_model(weights: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, packed = weights / "stories260K-hf", tmp_path / "packed"
    done = pack(source, packed, level=1)
    assert done == [Done("model.safetensors", 1_044_992, done[0].packed)]
    assert done[0].packed == 862_718  # 26.5 bits a weight, as docs/weights-fast.md has it
    model = from_packed(packed)
    reference = AutoModelForCausalLM.from_pretrained(source)
    tokens = AutoTokenizer.from_pretrained(packed)("Once upon a time", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(model(**tokens).logits, reference(**tokens).logits)
    text = model.generate(**tokens, max_new_tokens=20, do_sample=False)
    assert torch.equal(text, reference.generate(**tokens, max_new_tokens=20, do_sample=False))
    unpack(packed, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(source)
