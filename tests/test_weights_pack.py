"""Folders of models in and out, and transformers' models out of packed ones."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers import python_fails, run_python

import nncodec
from nncodec.errors import (
    CorruptDataError,
    FolderError,
    InvalidModelError,
    MissingPackageError,
    NNCodecError,
)
from nncodec.weights import from_packed, pack, unpack
from nncodec.weights.folder import Done, snapshot_of

Tree = dict[str, bytes]


def tree(folder: Path) -> Tree:
    """Every file by its name, links followed; empty folders as names that end with /."""
    found: Tree = {}
    for path, folders, files in os.walk(folder, followlinks=True):
        below = os.path.relpath(path, folder) + "/"
        found |= {below + name: (Path(path) / name).read_bytes() for name in files}
        if not folders and not files:
            found[below] = b""
    return found


def write_tree(folder: Path) -> Path:
    weights = {"a": torch.randn(40, 30), "b": torch.randn(7).bfloat16()}
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    torch.save(weights, folder / "deep" / "er" / "pytorch_model.bin")
    np.save(folder / "deep" / "array.npy", np.arange(100.0))
    (folder / "none.safetensors").write_bytes(b"")
    (folder / "broken.gguf").write_bytes(b"GGUF, it says")
    (folder / "config.json").write_text("{}")
    (folder / "deep" / "tokenizer.model").write_bytes(bytes(range(256)))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / ".hidden").write_text("x")
    os.utime(folder / "config.json", ns=(10**18, 10**18))
    return folder


def test_folders_come_back(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    before = tree(source)
    done = pack(source, level=1)
    packed = tmp_path / "model.nnc-dir"
    names = ["broken.gguf", "deep/array.npy", "deep/er/pytorch_model.bin", "model.safetensors"]
    names += ["none.safetensors"]
    assert [file.name for file in done] == names
    assert tree(packed).keys() == {
        f"{n}.nnc" if n.removeprefix("./") in names else n for n in before
    }
    for file in done:
        assert file.packed == (packed / f"{file.name}.nnc").stat().st_size
        assert (
            nncodec.decompress((packed / f"{file.name}.nnc").read_bytes())
            == (source / file.name).read_bytes()
        )
    assert (packed / "config.json").read_text() == "{}"
    assert unpack(packed, tmp_path / "back") == done
    assert tree(tmp_path / "back") == before == tree(source)
    for name in ("run.sh", "config.json"):
        one, two = (source / name).stat(), (tmp_path / "back" / name).stat()
        assert (one.st_mode, one.st_mtime_ns) == (two.st_mode, two.st_mtime_ns)
    shutil.rmtree(source)
    assert unpack(packed) == done  # to model
    assert tree(source) == before
    assert sorted(os.listdir(tmp_path)) == ["back", "model", "model.nnc-dir"]


def test_archives_are_those_of_compress(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    pack(source, tmp_path / "out", level=2, model="tiny", threads=1)
    for name in ("model.safetensors", "deep/array.npy"):
        archive = (tmp_path / "out" / f"{name}.nnc").read_bytes()
        assert archive == nncodec.compress((source / name).read_bytes(), 2, model="tiny")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "mine").write_text("mine")
    (out / "config.json").write_text("old")
    before = tree(out)
    with pytest.raises(FolderError, match=r"already exists.*force"):
        pack(source, out, level=1)
    assert tree(out) == before
    pack(source, out, level=1, force=True)
    assert (out / "mine").read_text() == "mine"
    assert (out / "config.json").read_text() == "{}"
    with pytest.raises(FolderError, match="already exists"):
        unpack(out, source)
    (source / "config.json").unlink()
    unpack(out, source, force=True)
    assert (source / "config.json").read_text() == "{}"
    (out / "run.sh").unlink()
    (out / "run.sh").mkdir()
    with pytest.raises(FolderError, match=r"run\.sh is in the way"):
        pack(source, out, level=1, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="is no folder"):
        pack(source, tmp_path / "file", level=1, force=True)
    (tmp_path / "hollow").mkdir()
    pack(source, tmp_path / "hollow", level=1)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    for out in (source, source / "deep" / "out", tmp_path):
        with pytest.raises(FolderError, match="lies in what it is made of, or around it"):
            pack(source, out, level=1, force=True)
    with pytest.raises(FolderError, match="is no folder"):
        pack(source / "config.json", level=1)
    with pytest.raises(FolderError, match="no file of weights"):
        pack(source / "empty", level=1)
    with pytest.raises(NNCodecError, match="no level 0"):
        pack(source, level=0)
    (source / "deep" / "x.nnc").write_text("")
    with pytest.raises(FolderError, match=r"deep/x\.nnc, an archive already"):
        pack(source, level=1)
    (source / "deep" / "x.nnc").unlink()
    (source / "gone").symlink_to("nowhere")
    with pytest.raises(FolderError, match="gone is a link that leads nowhere"):
        pack(source, level=1)
    (source / "gone").unlink()
    os.mkfifo(source / "pipe")
    with pytest.raises(FolderError, match="pipe is no regular file"):
        pack(source, level=1)
    (source / "pipe").unlink()
    (source / "deep" / "up").symlink_to("..")
    with pytest.raises(FolderError, match="deep/up/ is a link to a folder that holds it"):
        pack(source, level=1)
    assert os.listdir(tmp_path) == ["model"]


def test_what_cannot_be_unpacked(tmp_path: Path) -> None:
    pack(write_tree(tmp_path / "model"), tmp_path / "out", level=1)
    with pytest.raises(FolderError, match="name the output"):
        unpack(tmp_path / "out")
    with pytest.raises(FolderError, match="holds no archives"):
        unpack(tmp_path / "model", tmp_path / "back")
    shutil.copy(tmp_path / "model" / "model.safetensors", tmp_path / "out")
    with pytest.raises(FolderError, match=r"both model\.safetensors\.nnc and model\.safetensors"):
        unpack(tmp_path / "out", tmp_path / "back")
    (tmp_path / "out" / "model.safetensors").unlink()
    archive = tmp_path / "out" / "model.safetensors.nnc"
    whole = archive.read_bytes()
    for broken in (whole[:-9] + b"?" + whole[-8:], whole[:-5], whole + b"x", b"", b"text"):
        archive.write_bytes(broken)
        with pytest.raises(CorruptDataError, match=r"^model\.safetensors\.nnc: "):
            unpack(tmp_path / "out", tmp_path / "back")
        assert sorted(os.listdir(tmp_path)) == ["model", "out"]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")

    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, level=1, progress=stop)
    assert os.listdir(tmp_path) == ["model"]


def cached_repo(folder: Path) -> Path:
    """A repository as huggingface_hub keeps it: links into blobs."""
    repo = folder / "models--me--model"
    for revision in ("aaa", "bbb"):
        (repo / "snapshots" / revision).mkdir(parents=True)
    (repo / "blobs").mkdir()
    safetensors.torch.save_file({"w": torch.ones(40, 40)}, repo / "blobs" / "123")
    (repo / "blobs" / "456").write_text("{}")
    for name, blob in (("model.safetensors", "123"), ("config.json", "456")):
        (repo / "snapshots" / "bbb" / name).symlink_to(f"../../blobs/{blob}")
    return repo


def test_repositories_in_the_cache(tmp_path: Path) -> None:
    repo = cached_repo(tmp_path)
    with pytest.raises(FolderError, match="revisions aaa, bbb"):
        pack(repo, level=1)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("bbb")
    assert snapshot_of(repo) == repo / "snapshots" / "bbb"
    pack(repo, level=1)
    packed = tmp_path / "models--me--model.nnc-dir"
    assert sorted(os.listdir(packed)) == ["config.json", "model.safetensors.nnc"]
    assert not (packed / "config.json").is_symlink()
    unpack(packed, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(repo / "snapshots" / "bbb")
    shutil.rmtree(repo / "snapshots" / "aaa")
    (repo / "refs" / "main").unlink()
    assert snapshot_of(repo) == repo / "snapshots" / "bbb"


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


def test_packing_needs_no_torch(tmp_path: Path) -> None:
    pack_code = (
        "import sys; sys.modules['torch'] = None\n"
        "import nncodec\n"
        "nncodec.weights.pack('model', level=1)\n"
        "print(len(nncodec.weights.unpack('model.nnc-dir', 'back')))\n"
    )
    before = tree(write_tree(tmp_path / "model"))
    result = run_python(pack_code, cwd=tmp_path)
    assert result.stdout == b"5\n", python_fails(result)
    assert tree(tmp_path / "back") == before


@pytest.mark.weights
@pytest.mark.usefixtures("quiet_transformers")
def test_real_model(weights: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source, packed = weights / "stories260K-hf", tmp_path / "packed"
    done = pack(source, packed, level=1)
    assert done == [Done("model.safetensors", 1_044_992, done[0].packed)]
    assert done[0].packed <= 847_169
    model = from_packed(packed)
    reference = AutoModelForCausalLM.from_pretrained(source)
    tokens = AutoTokenizer.from_pretrained(packed)("Once upon a time", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(model(**tokens).logits, reference(**tokens).logits)
    text = model.generate(**tokens, max_new_tokens=20, do_sample=False)
    assert torch.equal(text, reference.generate(**tokens, max_new_tokens=20, do_sample=False))
    unpack(packed, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(source)


if sys.platform == "win32":
    pytestmark = pytest.mark.skip(reason="links and pipes need POSIX")
