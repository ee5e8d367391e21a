"""Ids of float models (FORMAT-tokens.md, "Float models": "Model id", "Token table")."""

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .model_file import read_file, read_json

LEFT_OUT = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects within a JSON value: the components of a tokenizer among them."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from objects(inner)


def gpt2_alphabet() -> dict[str, int]:
    """GPT-2's letters of bytes: themselves if they can be seen, others from 256 on."""
    seen = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in seen]
    return {chr(b): b for b in seen} | {chr(256 + k): b for k, b in enumerate(others)}


def word_bytes(tokenizer: dict[str, Any], word: str) -> bytes:
    """What a word of model.vocab stands for ("Token table")."""
    model = tokenizer["model"]
    components = [c for name, c in tokenizer.items() if name != "model" and c]
    found = [c for component in components for c in objects(component) if "type" in c]
    if any(c["type"] == "ByteLevel" for c in found):
        alphabet = gpt2_alphabet()
        return bytes(alphabet[letter] for letter in word)
    byte = re.fullmatch("<0x([0-9A-F]{2})>", word)
    if model.get("byte_fallback") and byte:
        return bytes.fromhex(byte[1])
    word = word.removeprefix(model.get("continuing_subword_prefix") or "")
    word = word.removesuffix(model.get("end_of_word_suffix") or "")
    for c in found:
        if c["type"] == "Metaspace":
            word = word.replace(c["replacement"], " ")
        elif c["type"] == "Replace" and c["pattern"].get("String") == " ":
            word = word.replace(c["content"], " ")
    return word.encode()


def token_table(config: dict[str, Any], tokenizer: dict[str, Any]) -> list[bytes]:
    """The string of each id, none for those that are never coded ("Token table")."""
    size = config["vocab_size"]
    model = tokenizer["model"]
    table = [b""] * size
    for word, i in model["vocab"].items():
        if i < size and word != model.get("unk_token"):
            table[i] = word_bytes(tokenizer, word)
    for added in tokenizer.get("added_tokens", []):
        if added["id"] < size:
            table[added["id"]] = b"" if added["special"] else added["content"].encode()
    return table


def float_id(folder: Path) -> bytes:
    """The id of a float model's folder ("Model id")."""
    config = read_json(read_file(folder / "config.json"))
    table = token_table(config, read_json(read_file(folder / "tokenizer.json")))
    candidates = [config.get(f"{name}_token_id") for name in ("bos", "eos", "pad")]
    valid = [k for k in candidates if type(k) is int and 0 <= k < len(table)]
    digest = hashlib.sha256(b"nncodec tokens\0" + struct.pack("<II", [*valid, 0][0], len(table)))
    for string in table:
        digest.update(struct.pack("<I", len(string)) + string)
    kept = {name: value for name, value in config.items() if name not in LEFT_OUT}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()
    a = hashlib.sha256(b"nncodec causal\0" + digest.digest() + canonical).digest()
    b = hashlib.sha256(a)
    for name, dtype, shape, values in sorted(tensors(folder)):
        b.update(f"{name}\0{dtype}\0{shape}\0".encode() + values)
    return a[:4] + b.digest()[:12]


def tensors(folder: Path) -> Iterator[tuple[str, str, list[int], bytes]]:
    """Name, dtype, shape and bytes of the tensors of all *.safetensors."""
    for path in folder.glob("*.safetensors"):
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        header = read_json(data[8 : 8 + size])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            values = data[8 + size + begin : 8 + size + end]
            yield name, entry["dtype"], entry["shape"], values
