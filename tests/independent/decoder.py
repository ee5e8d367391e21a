"""decode(): an archive to its bytes."""

import hashlib
from pathlib import Path

from .container import DELTA, Frame, frames
from .errors import Rejected
from .payloads import DECODERS, FindModel, Surroundings
from .transforms import undo
from .xxh64 import xxh64


def decode(archive: bytes, find_model: FindModel, base: bytes | None = None) -> bytes:
    """What an archive holds. `find_model` gives the folder of a model id, or None."""
    contents = bytearray()
    for frame in frames(archive):
        contents += decode_frame(frame, find_model, base)
    return bytes(contents)


def decode_frame(frame: Frame, find_model: FindModel, base: bytes | None) -> bytes:
    """A frame's blocks, one after the other (FORMAT.md, "Frame", "Payloads")."""
    if frame.base_id is not None and (
        base is None or hashlib.sha256(base).digest()[:16] != frame.base_id
    ):
        raise Rejected("the base is missing, or not the one that the frame names")
    folder: Path | None = None
    if frame.model_id is not None:
        folder = find_model(frame.model_id)
        if folder is None:
            raise Rejected(f"there is no model {frame.model_id.hex()}")
    surroundings = Surroundings(frame, folder, base if frame.base_id is not None else None)
    contents = bytearray()
    for row, payload in zip(frame.rows, frame.payloads, strict=True):
        if row.kind == DELTA and any(i.offset + i.size > len(base or b"") for i in row.items):
            raise Rejected("an item reaches beyond the base")
        coded = DECODERS[row.kind](row, payload, surroundings)
        block = undo(row.transform, coded, row.length)
        if len(block) != row.length or xxh64(block) != row.checksum:
            raise Rejected("a block's bytes do not have its length and checksum")
        contents += block
    return bytes(contents)
