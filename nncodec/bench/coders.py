"""The library codecs in the child process: from bytes to bytes, each package imported when asked.

``codecs.py`` says which there are, and with which levels.
"""

from __future__ import annotations

from nncodec.bench.worker import InMemory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nncodec.bench.worker import Job

    Function = Callable[[bytes], bytes]
    Pair = tuple[Function, Function]  # compress, decompress


def open_run(job: Job) -> InMemory:
    compress, decompress = CODERS[job["family"]](job["level"])
    return InMemory(compress if job["direction"] == "compress" else decompress, job)


def copy(_level: str) -> Pair:
    def duplicate(data: bytes) -> bytes:
        return bytes(memoryview(data))  # of bytes themselves it would make no copy

    return duplicate, duplicate


def gzip(level: str) -> Pair:
    import gzip

    return lambda data: gzip.compress(data, int(level), mtime=0), gzip.decompress


def bz2(level: str) -> Pair:
    import bz2

    return lambda data: bz2.compress(data, int(level)), bz2.decompress


def xz(level: str) -> Pair:
    import lzma

    preset = int(level[0]) | (lzma.PRESET_EXTREME if level.endswith("e") else 0)
    return lambda data: lzma.compress(data, preset=preset), lzma.decompress


def zstd(level: str) -> Pair:
    import zstandard

    coder = zstandard.ZstdCompressor(level=int(level), write_checksum=True)  # as the program does
    return coder.compress, zstandard.ZstdDecompressor().decompress


def brotli(level: str) -> Pair:
    import brotli

    def compress(data: bytes) -> bytes:
        packed: bytes = brotli.compress(data, quality=int(level), lgwin=24)  # the program's window
        return packed

    return compress, brotli.decompress


def lz4(level: str) -> Pair:
    import lz4.frame

    def compress(data: bytes) -> bytes:
        packed: bytes = lz4.frame.compress(
            data, compression_level=int(level), content_checksum=True
        )
        return packed

    return compress, lz4.frame.decompress


CODERS: dict[str, Callable[[str], Pair]] = {
    "copy": copy,
    "gzip": gzip,
    "bz2": bz2,
    "xz": xz,
    "zstd": zstd,
    "brotli": brotli,
    "lz4": lz4,
}
