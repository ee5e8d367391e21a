"""Bytes to tokens and back, for any bytes: what tokens cannot say goes into a side stream.

Valid text is cut by the model's own tokenizer, with everything taken out of it that would change
the text (normalisers, a space put before, truncation). Its tokens are believed only where their
bytes, by the table, are those of the text. The rest is spelled in tokens of one byte if it is
short and the vocabulary has them, else it is an *escape*: bytes of the side stream with the place
they belong to. Invalid UTF-8 and control characters are treated so from the start: a language
model has nothing to say about them, and context models, which code the side stream, do.

    side = varint escapes, for each (varint tokens before it, since the last; varint length), bytes
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nncodec.causal.payload import Fields
from nncodec.causal.vocabulary import TOKENIZER_FILE, TokenTable, marks_spaces, read_json
from nncodec.config import said
from nncodec.container import varint
from nncodec.errors import CorruptDataError, InvalidModelError
from nncodec.extras import need

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PIECE = 1 << 16  # characters that the tokenizer gets at once
MOST_TOKENS = 1 << 30
SPELLED = 4  # bytes; an escape costs about as much as so many improbable tokens
ISLAND = 12  # bytes of text between escapes that are not worth ending one
NO_TEXT = re.compile("[\udc80-\udcff\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]+")  # escaped bytes, controls

# What changes text; pre-tokenizers, which only cut it, have other names.
NORMALIZERS = {
    *("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "Strip", "StripAccents"),
    *("BertNormalizer", "Precompiled", "Prepend", "Replace"),
}


@dataclass(frozen=True)
class Tokens:
    """A text as tokens and a side stream, which is empty if there are no escapes."""

    ids: npt.NDArray[np.int32]
    side: bytes = b""


@dataclass(frozen=True)
class Segment:
    """A run of tokens, or without ids bytes that tokens do not say."""

    data: bytes
    ids: Sequence[int] = ()


def load_tokenizer(folder: Path) -> Tokenizer:
    """A folder's tokenizer, without what would change text. Raises InvalidModelError."""
    document, library = literal(read_json(folder / TOKENIZER_FILE)), need("tokenizers")
    try:
        tokenizer: Tokenizer = library.Tokenizer.from_str(json.dumps(document))
    except Exception as error:  # the library raises Exception itself
        raise InvalidModelError(
            f"{folder / TOKENIZER_FILE} cannot be used: {said(error)}"
        ) from error
    tokenizer.encode_special_tokens = True  # "</s>" in a text is text
    return tokenizer


def literal(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer without normalisers but the one that marks spaces, and without additions."""

    def plain(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        part = dict(part)
        if part.get("type") == "ByteLevel":
            part["add_prefix_space"] = False
        if part.get("type") == "Metaspace":
            part["prepend_scheme"] = "never"
            part.pop("add_prefix_space", None)  # of older files; it means the same
        for inner in ("normalizers", "pretokenizers"):
            if inner in part:
                part[inner] = [p for p in map(plain, part[inner]) if p is not None]
        return None if part.get("type") in NORMALIZERS and not marks_spaces(part) else part

    nothing = {"post_processor": None, "truncation": None, "padding": None}
    parts = {name: plain(tokenizer.get(name)) for name in ("normalizer", "pre_tokenizer")}
    return {**tokenizer, **parts, **nothing}


def tokenize(table: TokenTable, tokenizer: Tokenizer, data: bytes) -> Tokens:
    """Cut (n,) bytes of any kind into tokens of the table, and what these cannot say."""
    segments = join(list(cut(table, tokenizer, data)))
    ids: list[int] = []
    places, escaped, last = bytearray(), bytearray(), 0
    count = 0
    for segment in segments:
        if segment.ids:
            ids += segment.ids
        elif spelled := spell(table, segment.data):
            ids += spelled
        else:
            places += varint(len(ids) - last) + varint(len(segment.data))
            escaped += segment.data
            last, count = len(ids), count + 1
    side = bytes(varint(count) + places + escaped) if count else b""
    return Tokens(np.array(ids, dtype=np.int32), side)


def no_text(data: bytes) -> int:
    """How many of the bytes are no valid text, or control characters."""
    return sum(map(len, NO_TEXT.findall(data.decode("utf-8", "surrogateescape"))))


def cut(table: TokenTable, tokenizer: Tokenizer, data: bytes) -> Iterator[Segment]:
    """Tokens where there is text that they say, the bytes themselves elsewhere."""
    text = data.decode("utf-8", "surrogateescape")
    at = 0
    for match in NO_TEXT.finditer(text):
        yield from cut_text(table, tokenizer, text[at : match.start()])
        yield Segment(match[0].encode("utf-8", "surrogateescape"))
        at = match.end()
    yield from cut_text(table, tokenizer, text[at:])


def cut_text(table: TokenTable, tokenizer: Tokenizer, text: str) -> Iterator[Segment]:
    if not text:
        return
    texts = list(pieces(text))
    encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
    for piece, encoding in zip(texts, encoded, strict=True):
        data, ids = piece.encode(), encoding.ids
        said = [table.bytes_of[number] if number < len(table.bytes_of) else None for number in ids]
        if None not in said and b"".join(filter(None, said)) == data:
            yield Segment(data, ids)
        else:
            widths = [0, *(len(character.encode()) for character in piece)]
            byte_at = np.cumsum(widths)
            starts = [int(byte_at[start]) for start, _ in encoding.offsets]
            yield from align(data, ids, said, starts)


def pieces(text: str) -> Iterator[str]:
    """Pieces that a tokenizer handles well, cut behind the last line's end where there is one."""
    at = 0
    while at < len(text):
        end = min(len(text), at + PIECE)
        if end < len(text):
            end = text.rfind("\n", at, end) + 1 or end
        yield text[at:end]
        at = end


def align(
    data: bytes, ids: Sequence[int], said: Sequence[bytes | None], starts: Sequence[int]
) -> Iterator[Segment]:
    """The tokens whose bytes stand where the tokenizer saw them, and the gaps between."""
    at = run = 0  # bytes accounted for; where the run of tokens in ``good`` begins
    good: list[int] = []
    for number, token, start in zip(ids, said, starts, strict=True):
        if token is None:
            continue
        begin = max(start, at)
        if not data.startswith(token, begin):
            begin = at
            if not data.startswith(token, begin):
                continue
        if begin > at:
            if good:
                yield Segment(data[run:at], good)
            yield Segment(data[at:begin])
            good, run = [], begin
        good.append(number)
        at = begin + len(token)
    if good:
        yield Segment(data[run:at], good)
    if at < len(data):
        yield Segment(data[at:])


def join(segments: list[Segment]) -> list[Segment]:
    """Neighbouring bytes as one, with the little text that stands between them."""
    joined: list[Segment] = []
    for segment in segments:
        if not segment.ids:
            island = joined and joined[-1].ids and len(joined[-1].data) < ISLAND
            if island and len(joined) > 1 and not joined[-2].ids:
                text, before = joined.pop(), joined.pop()
                segment = Segment(before.data + text.data + segment.data)
            elif joined and not joined[-1].ids:
                segment = Segment(joined.pop().data + segment.data)
        joined.append(segment)
    return joined


def spell(table: TokenTable, data: bytes) -> list[int]:
    """A few bytes in tokens of one byte; nothing if they are many or a byte has no token."""
    ids = [table.byte_ids[byte] for byte in data] if len(data) <= SPELLED else [None]
    return [] if None in ids else [number for number in ids if number is not None]


def untokenize(table: TokenTable, tokens: Tokens) -> bytes:
    """Inverse of ``tokenize``. Raises CorruptDataError if the side stream does not fit."""
    words = [table.bytes_of[number] for number in tokens.ids.tolist()]
    if None in words:
        raise CorruptDataError("a block is damaged: a token that stands for no bytes")
    parts: list[bytes] = []
    at = 0
    for before, escaped in read_side(tokens.side):
        if before > len(words) - at:
            raise CorruptDataError("a block is damaged: an escape behind the last token")
        parts += filter(None, words[at : at + before])
        parts.append(escaped)
        at += before
    parts += filter(None, words[at:])
    return b"".join(parts)


def read_side(side: bytes) -> Iterator[tuple[int, bytes]]:
    """Tokens before each escape, since the last one, and its bytes. Raises CorruptDataError."""
    if not side:
        return
    fields = Fields(side)
    count = fields.number(len(side))
    places = [(fields.number(MOST_TOKENS), fields.number(len(side))) for _ in range(count)]
    for before, length in places:
        yield before, fields.take(length)
    if fields.rest():
        raise CorruptDataError("a block is damaged: bytes behind the last escape")
