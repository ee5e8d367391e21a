"""A member of a packed archive as a file that can be seeked."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nncodec.pack.reader import Member, PackedArchive


class MemberFile(io.RawIOBase):
    """A member's bytes, decoded where they are asked for."""

    def __init__(self, archive: PackedArchive, member: Member) -> None:
        self._archive, self.member, self._at = archive, member, 0
        self.name = member.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.member.size}
        if whence not in start:
            raise ValueError(f"invalid whence {whence}")
        if start[whence] + offset < 0:
            raise ValueError(f"negative seek position {start[whence] + offset}")
        self._at = start[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        for piece in self._archive.pieces(self.member.extents, self._at, self._at + len(view)):
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._at += done
        return done
