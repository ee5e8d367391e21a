"""Tokenizers and tiny models of the kinds that people have, made here for the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from helpers import TEXT
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from nncodec.causal.vocabulary import SPACE_MARK, byte_letters

SIZE = 400  # of a vocabulary, at most
SPECIALS = ["<unk>", "<s>", "</s>"]
CORPUS = [line.decode() for line in TEXT.splitlines()] * 3


def byte_level(missing: frozenset[int] = frozenset()) -> Tokenizer:
    """As GPT-2, Llama 3 and Qwen have it; without the ``missing`` bytes if there are such."""
    alphabet = [letter for byte, letter in byte_letters().items() if byte not in missing]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, special)
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Llama 2: a mark for spaces, one of them prepended, bytes as ``<0xNN>``."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=SPECIALS, show_progress=False
    )  # the bytes are put behind the specials below
    trained.train_from_iterator(CORPUS, trainer)
    document = json.loads(trained.to_str())
    words = list(document["model"]["vocab"])
    names = [*words[:3], *(f"<0x{byte:02X}>" for byte in range(256)), *words[3:]]
    document["model"] |= {
        "vocab": {name: number for number, name in enumerate(names)},
        "byte_fallback": True,
        "fuse_unk": True,
    }
    document["pre_tokenizer"] = None
    space = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK}
    prepend = {"type": "Prepend", "prepend": SPACE_MARK}
    document["normalizer"] = {"type": "Sequence", "normalizers": [prepend, space]}
    return Tokenizer.from_str(json.dumps(document))


def unigram() -> Tokenizer:
    """As T5 and XLNet: pieces with scores, text normalised and made lower case, unknown letters."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    """As BERT: words, their continuations behind ##, and no token for a space."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=150, special_tokens=SPECIALS, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte level": byte_level,
    "byte level, bytes missing": lambda: byte_level(frozenset((0x65, 0x0A, 0xC3, 0xFF))),
    "byte fallback": byte_fallback,
    "unigram": unigram,
    "word piece": word_piece,
}


def save_tokenizer(folder: Path, tokenizer: Tokenizer, config: dict[str, Any]) -> Path:
    """A folder with ``tokenizer.json`` and a ``config.json`` for it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    shape = {"vocab_size": tokenizer.get_vocab_size() + 3, "bos_token_id": 1}  # padded, as many are
    (folder / "config.json").write_text(json.dumps({**shape, **config}))
    return folder


SMALL: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "bos_token_id": 1,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**SMALL, "num_key_value_heads": 2},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1},
    "qwen2": {**SMALL, "num_key_value_heads": 1},
    "qwen3": {**SMALL, "num_key_value_heads": 1, "head_dim": 16},
    "gpt_neox": SMALL,
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "bos_token_id": 1},
    "rwkv": {
        "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 1
    },
}  # fmt: skip


def save_model(folder: Path, kind: str, tokenizer: Tokenizer, fit: int = 0) -> Path:
    """A tiny model of an architecture, with random weights or after ``fit`` steps on the text."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    size = tokenizer.get_vocab_size() + 3
    config = AutoConfig.for_model(kind, vocab_size=size, **CONFIGS[kind])
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(config)
        if not fit:  # as sure of itself as a trained one
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    torch.nn.init.normal_(parameter, std=0.3)
        ids = torch.tensor(tokenizer.encode(TEXT.decode()).ids)
        adam = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(fit):
            starts = torch.randint(0, len(ids) - 63, (6,))
            starts[0] = 0
            tokens = torch.stack([torch.cat((ids[:1] * 0 + 1, ids[at : at + 63])) for at in starts])
            loss = model(input_ids=tokens, labels=tokens).loss
            adam.zero_grad()
            loss.backward()
            adam.step()
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
