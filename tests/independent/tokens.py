"""Payloads of kind 8 (FORMAT-tokens.md): "Payload", "Side stream", "Order of coding"."""

from functools import lru_cache
from pathlib import Path

from .container import Cursor, Row
from .environment import refuse
from .errors import Rejected
from .float_folder import float_id
from .lanes import parts
from .model_file import read_file, read_json
from .model_folder import ID_OF_TYPE
from .payloads import Surroundings, mix
from .range_decoder import RangeDecoder
from .token_folder import read_folder
from .token_model import Lane, Model

EXACT = "nncodec-exact"
ID_OF_TYPE[EXACT] = lambda folder: read_folder(folder).id
ID_OF_TYPE["llama"] = float_id  # one of the many types of float models


def decode_payload(row: Row, payload: bytes, surroundings: Surroundings) -> bytes:
    """A block of tokens ("Payload"), of which the caller checks length and checksum."""
    folder, frame = surroundings.model, surroundings.frame
    if folder is None:
        raise Rejected("a block without the model that it needs")
    check_sort(folder, frame.environment)
    if read_folder(folder).id != frame.model_id:
        raise Rejected("a model of another id than the archive names")
    cursor = Cursor(payload)
    n = varint(cursor, row.length)
    side = b""
    side_size = varint(cursor, 2 * row.length + 64)
    if side_size:
        side = unfold(cursor.take(varint(cursor, side_size)), side_size)
    if row.table_bits or row.prefix > n or row.lanes > max(1, n):
        raise Rejected("table bits, prefix or lanes out of their bounds")
    escapes = read_escapes(side)
    tokens = decode_tokens(payload[cursor.at :], folder, n, row)
    return join(tokens, escapes)


def check_sort(folder: Path, environment: bytes | None) -> None:
    """Models over bytes, exact ones, float ones: by config.json ("Float models")."""
    sort = read_json(read_file(folder / "config.json")).get("model_type")
    if sort == "nncodec":
        raise Rejected("a model over bytes for a block of tokens")
    if (sort == EXACT) != (environment is None):
        raise Rejected("an exact model with an environment, or a float model without one")
    if environment is not None:
        refuse(environment)


def varint(cursor: Cursor, most: int) -> int:
    """A varint of a payload or side stream."""
    value = cursor.varint(5)
    if value > most:
        raise Rejected("a varint out of its bounds")
    return value


def unfold(coded: bytes, size: int) -> bytes:
    """The side stream ("Coded side")."""
    if len(coded) == size:
        return coded
    bits = max(10, min(20, (3 * size // 2 - 1).bit_length()))
    return mix(coded, size, prefix=0, lanes=1, table_bits=bits, model=None)


def read_escapes(side: bytes) -> list[tuple[int, bytes]]:
    """Gaps and bytes ("Side stream")."""
    if not side:
        return []
    cursor = Cursor(side)
    size = len(side)
    pairs = [(varint(cursor, 2**30), varint(cursor, size)) for _ in range(varint(cursor, size))]
    escapes = [(gap, cursor.take(length)) for gap, length in pairs]
    if cursor.at < size:
        raise Rejected("a side stream with bytes left over")
    return escapes


def join(tokens: list[bytes], escapes: list[tuple[int, bytes]]) -> bytes:
    """The block ("Side stream")."""
    pieces: list[bytes] = []
    at = 0
    for gap, escape in escapes:
        if gap > len(tokens) - at:
            raise Rejected("an escape behind the last token")
        pieces += [*tokens[at : at + gap], escape]
        at += gap
    return b"".join(pieces + tokens[at:])


def decode_tokens(stream: bytes, folder: Path, n: int, row: Row) -> list[bytes]:
    """The strings of n tokens ("Order of coding")."""
    model, strings = load(folder)
    ids = read_folder(folder).tensors["tokens.ids"].tolist()
    coder = RangeDecoder(stream, bits=32)
    tokens = [b""] * n
    room = row.length
    lanes = [Lane(model.config)]
    for part in parts(n, row.prefix, row.lanes):
        lanes = [lanes[0].copy() for _ in range(part.lanes)]
        for step in range(part.length(0)):
            for i, lane in enumerate(lanes[: part.active(step)]):
                symbol = coder.decode(model.feed(lane, lane.last))
                lane.last = ids[symbol]
                tokens[part.start(i) + step] = strings[symbol]
                room -= len(strings[symbol])
                if room < 0:
                    raise Rejected("tokens of more bytes than the block")
    coder.finish()
    return tokens


@lru_cache(maxsize=4)
def load(folder: Path) -> tuple[Model, list[bytes]]:
    """A folder's model, and the strings of its symbols."""
    contents = read_folder(folder)
    return Model(contents.config, contents.tensors), contents.strings
