"""A token is a string of bytes: the table that says which, made from ``tokenizer.json``.

The bytes of a sequence of tokens are the concatenation of the table's entries, never
``tokenizer.decode``: no rule that cleans up, strips or normalises can lose a byte, and decoding
needs no tokenizer at all. Tokens that stand for no certain bytes (specials, unknown) have none
and are never coded. Three alphabets are read: bytes written as letters (GPT-2, Llama 3, Qwen),
spaces written as a mark with bytes as ``<0xNN>`` (Llama 2, Gemma), and plain text. Not a goal: to
say how text is cut into tokens, which is the tokenizer's (``tokenize``).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nncodec.config import CONFIG_FILE, MAX_CONFIG_BYTES, read_bounded, shown
from nncodec.errors import InvalidModelError

TOKENIZER_FILE = "tokenizer.json"
SPACE_MARK = "\u2581"
MAX_VOCABULARY = 1 << 22
MAX_TOKENIZER_BYTES = 1 << 28
BYTE_TOKEN = re.compile("<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class TokenTable:
    """``bytes_of[id]`` for each of the model's outputs, None for what is never coded.

    ``begin`` is the token that a text starts with, an input only.
    """

    bytes_of: list[bytes | None]
    begin: int

    @classmethod
    def from_folder(cls, folder: Path) -> TokenTable:
        """The table of a Hugging Face folder. Raises InvalidModelError."""
        tokenizer, config = read_json(folder / TOKENIZER_FILE), read_json(folder / CONFIG_FILE)
        text = config.get("text_config", {})  # of models that see pictures, too
        shape = {**config, **(text if isinstance(text, dict) else {})}
        size = shape.get("vocab_size")
        if type(size) is not int or not 0 < size <= MAX_VOCABULARY:
            raise InvalidModelError(f"{folder / CONFIG_FILE}: vocab_size is {shown(size)}")
        return cls.from_document(tokenizer, size, begin_of(shape, size))

    @classmethod
    def from_document(cls, tokenizer: Mapping[str, Any], size: int, begin: int) -> TokenTable:
        """The table of a parsed ``tokenizer.json`` for a model with ``size`` outputs."""
        table: list[bytes | None] = [None] * size
        try:
            for token, number in pairs(tokenizer):
                if 0 <= number < size:
                    table[number] = token
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidModelError(
                f"{TOKENIZER_FILE} cannot be read ({type(error).__name__}: {error}); "
                "save it with a fast tokenizer of transformers"
            ) from error
        if not any(table):
            raise InvalidModelError(f"{TOKENIZER_FILE} has no token that stands for bytes")
        return cls(table, begin)

    @cached_property
    def byte_ids(self) -> list[int | None]:
        """The token of each single byte, where there is one; of several the last.

        Vocabularies with ``<0xNN>`` list these first and letters that were seen in text later.
        """
        ids: list[int | None] = [None] * 256
        for number, token in enumerate(self.bytes_of):
            if token is not None and len(token) == 1:
                ids[token[0]] = number
        return ids

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all that decoding takes from a tokenizer."""
        hashed = hashlib.sha256(b"nncodec tokens\0")
        hashed.update(self.begin.to_bytes(4, "little") + len(self.bytes_of).to_bytes(4, "little"))
        for token in self.bytes_of:
            hashed.update(len(token or b"").to_bytes(4, "little") + (token or b""))
        return hashed.digest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises InvalidModelError, also where there is no such file."""
    most = MAX_TOKENIZER_BYTES if path.name == TOKENIZER_FILE else MAX_CONFIG_BYTES
    try:
        document = json.loads(read_bounded(path, most))
    except FileNotFoundError:
        remedy = ""
        if path.name == TOKENIZER_FILE:
            remedy = "; save it there with AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        raise InvalidModelError(f"{path.parent} has no {path.name}{remedy}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise InvalidModelError(f"{path} holds no JSON object")
    return document


def begin_of(config: Mapping[str, Any], size: int) -> int:
    """The token that texts begin with: begin of text, or the end of the one before, or any."""
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        value = config.get(name)
        number = value[0] if isinstance(value, list) and value else value
        if type(number) is int and 0 <= number < size:
            return number
    return 0


def pairs(tokenizer: Mapping[str, Any]) -> Iterator[tuple[bytes | None, int]]:
    """Every token's bytes (None: not to be coded) and number; what comes later prevails."""
    model = tokenizer["model"]
    spell = speller(tokenizer)
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        words = list(vocabulary.items())
    else:  # of Unigram: pieces with their scores
        words = [(piece, number) for number, (piece, _) in enumerate(vocabulary)]
    known = {number for _, number in words}
    for word, number in words:
        yield spell(word), number
    for added in tokenizer.get("added_tokens") or ():
        if added["special"]:
            yield None, added["id"]
        elif added["id"] not in known:  # else the vocabulary says what it stands for
            yield added["content"].encode() or None, added["id"]
    unknown = dict(words).get(model.get("unk_token"), model.get("unk_id"))
    if unknown is not None:
        yield None, unknown


def speller(tokenizer: Mapping[str, Any]) -> Any:
    """What turns a word of the vocabulary into bytes; None for a word that stands for none."""
    model = tokenizer["model"]
    if find_type(tokenizer, "ByteLevel"):
        letters = {letter: byte for byte, letter in byte_letters().items()}

        def from_letters(word: str) -> bytes | None:
            try:
                return bytes(letters[letter] for letter in word) or None
            except KeyError:
                return None

        return from_letters
    mark = space_mark(tokenizer)
    fallback = bool(model.get("byte_fallback")) or bool(find_type(tokenizer, "ByteFallback"))
    prefix = model.get("continuing_subword_prefix") or ""
    suffix = model.get("end_of_word_suffix") or ""

    def from_text(word: str) -> bytes | None:
        if fallback and (match := BYTE_TOKEN.fullmatch(word)):
            return bytes.fromhex(match[1])
        word = word.removeprefix(prefix).removesuffix(suffix)
        if mark:
            word = word.replace(mark, " ")
        return word.encode("utf-8", "surrogatepass") or None

    return from_text


def space_mark(tokenizer: Mapping[str, Any]) -> str | None:
    """The letter that stands for a space, if one does."""
    for part in find_type(tokenizer, "Metaspace"):
        return str(part.get("replacement", SPACE_MARK))
    for part in find_type(tokenizer, "Replace"):
        if marks_spaces(part):
            return str(part["content"])
    return None


def marks_spaces(part: Mapping[str, Any]) -> bool:
    """Whether it is what writes spaces as a mark, not the decoder that undoes it."""
    pattern, content = part.get("pattern"), part.get("content")
    return (
        isinstance(pattern, dict)
        and pattern.get("String") == " "
        and isinstance(content, str)
        and len(content) == 1
        and content != " "
    )


def find_type(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The normalisers, pre-tokenizers and decoders of a type, in that order, also in sequences."""
    found: list[Mapping[str, Any]] = []
    waiting = [document.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]
    while waiting:
        part = waiting.pop(0)
        if not isinstance(part, dict):
            continue
        if part.get("type") == name:
            found.append(part)
        for inner in ("normalizers", "pretokenizers", "decoders"):
            waiting += part.get(inner) or ()
    return found


def byte_letters() -> dict[int, str]:
    """GPT-2's alphabet: printable bytes are their own letters, the rest come from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    letters = {byte: chr(byte) for byte in printable}
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}
