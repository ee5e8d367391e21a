"""Files cut into numbered parts that travel one by one, and put together where they arrive.

A folder of parts holds ``part-000.bin``, ... and ``parts.json``: the files' names, sizes and
SHA-256s, and the parts'. The parts are one stream, the files one after the other. Shared by
gpu_pack.py, gpu_drive.py and gpu_join.py; needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

INDEX = "parts.json"
MIB = 1 << 20
CHUNK = 1 << 20


class PartsError(Exception):
    """A part is missing or damaged, or parts of two sets are mixed; the message says what to do."""


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def describe(name: str, path: Path) -> dict[str, Any]:
    return {"name": name, "bytes": path.stat().st_size, "sha256": sha256(path)}


class PartsWriter:
    """Cuts a stream of bytes into files of ``size`` bytes in ``folder``, the last one shorter."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.names: list[str] = []
        self.room = 0

    def write(self, data: bytes) -> None:
        while data:
            if not self.room:
                self.names.append(f"part-{len(self.names):03d}.bin")
                self.room = self.size
            with (self.folder / self.names[-1]).open("ab") as file:
                file.write(data[: self.room])
            data, self.room = data[self.room :], max(0, self.room - len(data))


def write_parts(
    files: Iterable[tuple[str, Path]], folder: Path, size: int, compress: bool
) -> dict[str, Any]:
    """Cut files into parts of at most ``size`` bytes in an empty folder; returns the index."""
    files = list(files)
    out = PartsWriter(folder, size)
    packer = lzma.LZMACompressor() if compress else None
    for _, path in files:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                out.write(packer.compress(chunk) if packer else chunk)
    if packer:
        out.write(packer.flush())
    index = {
        "compressed": compress,
        "files": [describe(name, path) for name, path in files],
        "parts": [describe(name, folder / name) for name in out.names],
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    return index


def read_index(folder: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text())
        for entry in (*index["parts"], *index["files"]):
            entry["name"], entry["bytes"], entry["sha256"]
    except FileNotFoundError:
        raise PartsError(f"{folder} has no {INDEX}; it travels with part-000.bin") from None
    except (ValueError, KeyError, TypeError) as error:
        raise PartsError(f"{folder / INDEX} is damaged ({error!r}); bring it again") from error
    return index


def is_intact(part: dict[str, Any], path: Path) -> bool:
    return path.stat().st_size == part["bytes"] and sha256(path) == part["sha256"]


def check_part(part: dict[str, Any], path: Path) -> None:
    if not is_intact(part, path):
        raise PartsError(f"{path} is damaged: its SHA-256 is not the index's; bring it again")


def missing_parts(index: dict[str, Any], find: Callable[[str], Path | None]) -> list[str]:
    return [part["name"] for part in index["parts"] if find(part["name"]) is None]


def stream(index: dict[str, Any], find: Callable[[str], Path | None]) -> Iterator[bytes]:
    """The bytes of all files, part by part, each verified before it is used."""
    unpacker = lzma.LZMADecompressor() if index["compressed"] else None
    for part in index["parts"]:
        path = find(part["name"])
        if path is None:
            missing = ", ".join(missing_parts(index, find))
            raise PartsError(f"{missing} of {len(index['parts'])} parts missing; bring them too")
        check_part(part, path)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield unpacker.decompress(chunk) if unpacker else chunk


def unpack(
    index: dict[str, Any],
    find: Callable[[str], Path | None],
    target: Path,
    wanted: Callable[[str], bool] = lambda _name: True,
) -> None:
    """Write the files below ``target``, which is empty; parts behind the last wanted one may be
    absent. Raises PartsError; what is there by then is for the caller to remove."""
    last = max((i for i, file in enumerate(index["files"]) if wanted(file["name"])), default=-1)
    chunks = stream(index, find)
    rest = b""
    for file in index["files"][: last + 1]:
        name = PurePosixPath(file["name"])
        if name.is_absolute() or ".." in name.parts:
            raise PartsError(f"the index names {file['name']!r}, which would leave the folder")
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        left, digest = file["bytes"], hashlib.sha256()
        with path.open("wb") as out:
            while left:
                while not rest:  # a part may unpack to nothing yet
                    piece = next(chunks, None)
                    if piece is None:
                        raise PartsError("the parts end before the files of the index do")
                    rest = piece
                piece, rest = rest[:left], rest[left:]
                out.write(piece)
                digest.update(piece)
                left -= len(piece)
        if digest.hexdigest() != file["sha256"]:
            raise PartsError(f"{file['name']} came out other than it was packed; pack it again")
        if not wanted(file["name"]):
            path.unlink()
