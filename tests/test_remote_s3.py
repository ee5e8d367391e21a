"""S3 by its protocol: moto's server on the loopback, which counts what is asked of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import TEXT, python_fails, run_python, stored_archive
from test_cli import assert_one_error, cli, names, tiny

import nncodec
from nncodec.container import skippable_frame
from nncodec.errors import (
    RemoteChangedError,
    RemoteError,
    RemoteExistsError,
    RemoteNotFoundError,
    RemotePermissionError,
)
from nncodec.frames import chain, stored_frame
from nncodec.parsing import read_frames
from nncodec.remote import sink, source
from nncodec.remote.source import RemoteSource, fetch, open_source
from nncodec.remote.store import Store

pytest.importorskip("s3fs", reason="no s3fs to speak S3 with")
pytest.importorskip("moto.server", reason="no moto to serve S3")

import s3fs
from s3_server import Server, serve

BUCKET = "bucket"
PART = 5 << 20  # the least that S3 takes
DATA = np.random.default_rng(11).bytes(2 * PART + 54_321)
SMALL_PARTS = "from nncodec.remote import sink; sink.PART = 5 << 20; "
COMMAND = SMALL_PARTS + "from nncodec.cli import main; main()"


class S3(NamedTuple):
    fs: Any
    server: Server

    def put(self, name: str, data: bytes) -> str:
        self.fs.pipe_file(f"{BUCKET}/{name}", data)
        return url(name)

    def get(self, name: str) -> bytes:
        data: bytes = self.fs.cat_file(f"{BUCKET}/{name}")
        return data

    def names(self) -> list[str]:
        self.fs.invalidate_cache()
        return sorted(path.split("/", 1)[1] for path in self.fs.find(BUCKET))

    def pending(self) -> list[str]:
        """Names of uploads that neither ended nor were called off."""
        return [upload["Key"] for upload in self.fs.list_multipart_uploads(BUCKET)]


def url(name: str) -> str:
    return f"s3://{BUCKET}/{name}"


@pytest.fixture(scope="module")
def service() -> Iterator[S3]:
    with serve() as (address, server), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        s3fs.S3FileSystem.clear_instance_cache()
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        yield S3(fs, server)
        s3fs.S3FileSystem.clear_instance_cache()
        source.opened.cache_clear()


@pytest.fixture
def s3(service: S3) -> Iterator[S3]:
    """The service with an empty bucket."""
    service.fs.mkdir(BUCKET)
    service.server.reset()
    yield service
    service.server.reset()
    service.fs.clear_multipart_uploads(BUCKET)
    service.fs.rm(BUCKET, recursive=True)
    service.fs.invalidate_cache()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "PART", PART)


def many_blocks(frames: int = 6, blocks: int = 8, size: int = 20_000) -> tuple[bytes, bytes]:
    """Data and its archive of a skippable frame and a chain, each block stored."""
    data = DATA[: frames * blocks * size]
    array = np.frombuffer(data, dtype=np.uint8)
    step = blocks * size
    parts = (stored_frame(array[at : at + step], None, size) for at in range(0, len(data), step))
    return data, skippable_frame(1, bytes(30_000)) + b"".join(chain(parts))


def test_there_and_back(s3: S3, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    result = tiny(tmp_path / "text", "-o", url("text.nnc"))
    assert result.rc == 0
    assert f" bytes, {url('text.nnc')})" in result.err
    assert names(tmp_path) == ["text"]
    assert tiny(tmp_path / "text").rc == 0
    assert s3.get("text.nnc") == (tmp_path / "text.nnc").read_bytes()

    assert cli("test", url("text.nnc")).rc == 0
    assert cli("decompress", url("text.nnc")).rc == 0  # beside it
    assert s3.get("text") == TEXT
    assert cli("decompress", url("text.nnc"), "-o", tmp_path / "again").rc == 0
    assert (tmp_path / "again").read_bytes() == TEXT
    assert cli("decompress", "-c", url("text.nnc")).out == TEXT
    info = json.loads(cli("info", "--json", url("text.nnc")).out)[0]
    assert (info["name"], info["uncompressed_size"]) == (url("text.nnc"), len(TEXT))
    assert tiny(url("text"), "-f").rc == 0  # from a URL, beside it
    assert s3.get("text.nnc") == (tmp_path / "text.nnc").read_bytes()
    assert s3.names() == ["text", "text.nnc"]


def test_standard_streams(s3: S3) -> None:
    assert tiny("-o", url("x.nnc"), stdin=TEXT).rc == 0
    result = cli("decompress", "-o", url("x"), stdin=s3.get("x.nnc"))
    assert (result.rc, s3.get("x")) == (0, TEXT)
    assert tiny("-c", url("x")).out == s3.get("x.nnc")


def test_what_fits_a_part_is_one_request(s3: S3) -> None:
    assert cli("decompress", "-o", url("x"), stdin=stored_archive(b"little")).rc == 0
    writes = [r for r in s3.server.requests if r.method in ("PUT", "POST")]
    assert [(r.method, r.query) for r in writes] == [("PUT", "")]


def test_parts_go_out_as_they_come(s3: S3) -> None:
    s3.put("big.nnc", stored_archive(DATA))
    s3.server.requests.clear()
    assert cli("decompress", url("big.nnc")).rc == 0
    assert s3.get("big") == DATA
    parts = [r for r in s3.server.requests if r.method == "PUT"]
    assert [r.query.split("&")[0] for r in parts] == [f"partNumber={i}" for i in (1, 2, 3)]
    assert s3.pending() == []


def test_parts_grow_so_that_ten_thousand_hold_terabytes(s3: S3) -> None:
    s3.put("old", b"")
    upload = sink.Upload(Store(url("x")))
    sizes = []
    upload._send_part = lambda part: sizes.append(len(part))  # type: ignore[method-assign]
    upload._part = 1
    upload.write(bytes(sink.GROWS + 5))
    upload.abort()
    assert sizes == [1] * sink.GROWS + [2, 2]


def test_a_range_costs_headers_and_its_blocks(s3: S3) -> None:
    """Six headers of 4 KiB at most, the skippable frame's not counted, and two blocks, exactly."""
    data, archive = many_blocks()
    s3.put("x.nnc", archive)
    s3.server.requests.clear()
    begin, end = 8 * 20_000 * 3 + 45_000, 8 * 20_000 * 3 + 62_000  # blocks 2 and 3 of frame 3
    result = cli("decompress", "-v", "--range", f"{begin}:{end}", url("x.nnc"))
    assert (result.rc, result.out) == (0, data[begin:end])
    assert "decoded 2 of 48 blocks" in result.err
    reads = s3.server.reads()
    headers, blocks = reads[:-2], reads[-2:]
    assert len(headers) == 1 + 6
    assert all(request.sent <= source.WINDOW for request in headers)
    assert [request.sent for request in blocks] == [20_000, 20_000]
    assert sum(r.sent for r in reads) <= 7 * source.WINDOW + 40_000 < len(archive) / 10
    assert [r.method for r in s3.server.requests].count("HEAD") == 1


def test_what_a_header_brought_is_not_fetched_again(s3: S3) -> None:
    data, archive = many_blocks(frames=1)
    s3.put("x.nnc", archive)
    s3.server.requests.clear()
    assert cli("decompress", "--range", "0:10", url("x.nnc")).out == data[:10]
    skipped, header, rest = s3.server.reads()
    assert header.sent == source.WINDOW
    assert rest.begin == header.begin + header.sent
    header_size = read_frames_of(archive)[0].header_size
    assert header.sent + rest.sent == header_size + 20_000
    assert skipped.sent == source.WINDOW


def read_frames_of(archive: bytes) -> list[Any]:
    import io

    return read_frames(io.BytesIO(archive))


def test_info_reads_headers_alone(s3: S3) -> None:
    data, archive = many_blocks()
    s3.put("x.nnc", archive)
    s3.server.requests.clear()
    info = json.loads(cli("info", "--json", url("x.nnc")).out)[0]
    assert (info["uncompressed_size"], info["compressed_size"]) == (len(data), len(archive))
    assert sum(r.sent for r in s3.server.reads()) <= 7 * source.WINDOW


def test_a_long_payload_is_fetched_in_pieces_side_by_side(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PIECE", 1 << 20)
    s3.put("x.nnc", stored_archive(DATA))
    s3.server.requests.clear()
    assert cli("decompress", "--range", "7:9", url("x.nnc")).out == DATA[7:9]
    pieces = [r.sent for r in s3.server.reads()]
    assert max(pieces) == 1 << 20
    assert sum(pieces) == len(stored_archive(DATA))


def test_everything_is_read_once_in_large_pieces(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PIECE", 1 << 19)
    data, archive = many_blocks()
    s3.put("x.nnc", archive)
    s3.server.requests.clear()
    assert cli("decompress", "-c", url("x.nnc")).out == data
    pieces = sorted(s3.server.reads(), key=lambda r: r.begin)
    assert [r.begin for r in pieces] == list(range(0, len(archive), 1 << 19))
    assert sum(r.sent for r in pieces) == len(archive)


def test_short_answers_are_completed(s3: S3) -> None:
    _, archive = many_blocks()
    s3.put("x.nnc", archive)
    s3.server.short = 5
    with open_source(url("x.nnc"), ahead=True) as file:
        assert file.read() == archive
    assert s3.server.short == 0


def test_answers_that_break_off_are_asked_for_again(s3: S3) -> None:
    _, archive = many_blocks()
    s3.put("x.nnc", archive)
    s3.server.cut = 1
    with open_source(url("x.nnc")) as file:
        assert file.read() == archive
    assert s3.server.cut == 0


def test_answers_that_stay_short_are_an_error(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PAUSE", 0)
    s3.put("x", b"0123456789")
    file = open_source(url("x"))
    assert isinstance(file, RemoteSource)
    monkeypatch.setattr(file, "_read", lambda _begin, _end: b"")
    with file, pytest.raises(RemoteError, match="bytes 0 to 10 do not come"):
        file.read()


def test_a_file_that_is_replaced_meanwhile_is_an_error(s3: S3) -> None:
    """Not a mixture of both, though they are of one size."""
    s3.put("x", DATA)
    with open_source(url("x")) as file:
        assert file.read(1000) == DATA[:1000]
        s3.put("x", DATA[::-1])
        with pytest.raises(RemoteChangedError, match=r"s3://bucket/x: was replaced while it was"):
            file.read()


def test_a_source_that_is_replaced_meanwhile_leaves_no_output(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("x", DATA)
    monkeypatch.setattr(source, "PIECE", 1 << 20)
    read = RemoteSource.read

    def replaced(self: RemoteSource, size: int | None = -1, /) -> bytes:
        if self.tell() == 2 << 20:
            s3.put("x", DATA[::-1])
        return read(self, size)

    monkeypatch.setattr(RemoteSource, "read", replaced)
    assert_one_error(cli("compress", "-l1", url("x")), url("x"), "was replaced while it was read")
    assert s3.names() == ["x"]


def test_overwriting_takes_force(s3: S3) -> None:
    s3.put("x.nnc", b"precious")
    s3.put("x", TEXT)
    result = tiny(url("x"))
    assert result.errors == [f"nncodec: {url('x.nnc')} already exists; use -f to overwrite"]
    assert s3.get("x.nnc") == b"precious"
    assert tiny("-f", url("x")).rc == 0
    assert nncodec.decompress(s3.get("x.nnc")) == TEXT
    assert_one_error(tiny("-f", url("x"), "-o", url("x")), url("x"), "the same file")
    assert s3.get("x") == TEXT


def test_who_may_write_but_not_look_needs_force(s3: S3) -> None:
    name = url("blind")
    assert_one_error(tiny("-o", name, stdin=TEXT), "(standard input)", "permission denied")
    assert tiny("-f", "-o", name, stdin=TEXT).rc == 0
    with nncodec.open(name, "w", level=1) as file:
        file.write(TEXT)
    writes = [r.path for r in s3.server.requests if r.method == "PUT"]
    assert writes == [f"/{BUCKET}/blind"] * 2


@pytest.mark.parametrize("data", [b"mine", DATA], ids=["one request", "parts"])
def test_a_file_that_came_meanwhile_stays(s3: S3, data: bytes) -> None:
    store = Store(url("x"))
    upload = sink.Upload(store, replace=False)
    upload.write(data)
    s3.put("x", b"theirs")
    with pytest.raises(RemoteExistsError, match="s3://bucket/x: already exists"):
        upload.finish()
    upload.abort()
    assert s3.get("x") == b"theirs"
    assert s3.pending() == []


@pytest.mark.parametrize("data", [b"mine", DATA], ids=["one request", "parts"])
def test_stores_that_write_without_conditions(s3: S3, data: bytes) -> None:
    """There it is looked for once more before the end."""
    s3.server.unconditional = True
    with sink.uploading(Store(url("x")), replace=False) as file:
        file.write(data)
    assert s3.get("x") == data
    upload = sink.Upload(Store(url("y")), replace=False)
    upload.write(data)
    s3.put("y", b"theirs")
    with pytest.raises(RemoteExistsError):
        upload.finish()
    upload.abort()
    assert (s3.get("y"), s3.pending()) == (b"theirs", [])


def test_an_error_in_the_source_leaves_nothing(s3: S3) -> None:
    """Two parts were sent by then."""
    result = cli(
        "decompress", "-o", url("x"), stdin=stored_archive(DATA) + stored_archive(DATA)[:-9]
    )
    assert_one_error(result, r"(standard input)", "ends in the middle of a block")
    assert [r.query for r in s3.server.requests if r.method == "POST"] == ["uploads"]
    assert [r.method for r in s3.server.requests if "uploadId" in r.query][-1] == "DELETE"
    assert (s3.names(), s3.pending()) == ([], [])


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_leave_no_file(s3: S3, number: signal.Signals) -> None:
    """What kill -9 leaves is no file, but an upload that never ends: a rule of the bucket's job.

    It takes longer to call an upload off than a process has to unwind.
    """
    s3.server.slow = 1.5
    command = [sys.executable, "-c", COMMAND, "decompress", "-o", url("x")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdin
            process.stdin.write(many_blocks(frames=5, blocks=10, size=200_000)[1])
            process.stdin.flush()  # and no end
            sent = "partNumber=1&"
            wait_for(lambda: any(sent in r.query and r.status for r in s3.server.requests))
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode in (-number, 128 + number), err) == (True, b"")
    assert s3.names() == []
    assert s3.pending() == (["x"] if number == signal.SIGKILL else [])


def test_patterns_and_folders(s3: S3) -> None:
    for name in ("logs/b.txt", "logs/a.txt", "logs/deep/c.txt", "other"):
        s3.put(name, name.encode())
    s3.put("logs/", b"")  # a mark of a folder
    assert cli("compress", "-l1", "-q", url("logs/*.txt")).rc == 0
    assert s3.names() == [
        *("logs/", "logs/a.txt", "logs/a.txt.nnc", "logs/b.txt", "logs/b.txt.nnc"),
        *("logs/deep/c.txt", "other"),
    ]
    assert cli("decompress", "-c", url("logs/*.nnc")).out == b"logs/a.txtlogs/b.txt"  # in order
    assert_one_error(cli("compress", url("logs/")), url("logs/"), "is a directory; -r takes")
    assert_one_error(cli("compress", url("logs")), url("logs"), "is a directory; -r takes")
    assert_one_error(cli("test", f"s3://{BUCKET}"), f"s3://{BUCKET}", "is a bucket; name a file")
    result = cli("compress", url("other"), "-o", url("logs/"))
    assert_one_error(result, url("other"), "cannot write .*/logs/: is a directory; name a file")
    assert_one_error(cli("compress", url("*.none")), url("*.none"), "no file matches")
    s3.fs.rm([f"{BUCKET}/logs/a.txt", f"{BUCKET}/logs/a.txt.nnc"])
    assert cli("compress", "-l1", "-qf", "-r", url("logs")).rc == 0  # forced: archives, too
    assert cli("decompress", "-r", "-c", url("logs/deep/")).out == b"logs/deep/c.txt"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # blockcache leaks
@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_chains_of_caches(s3: S3, cache: str) -> None:
    """They are read through copies, and written and looked at where they are."""
    s3.put("x", TEXT)
    chain = f"{cache}::s3://{BUCKET}"
    assert tiny(f"{chain}/x").rc == 0
    assert s3.names() == ["x", "x.nnc"]
    assert nncodec.decompress(s3.get("x.nnc")) == TEXT
    there = f"nncodec: {chain}/x.nnc already exists; use -f to overwrite"
    assert tiny(f"{chain}/x").errors == [there]
    assert cli("test", f"{chain}/*.nnc").rc == 0
    assert cli("decompress", "--range", "3:9", f"{chain}/x.nnc").out == TEXT[3:9]
    with nncodec.open(f"{chain}/y.nnc", "w", level=1) as file:
        file.write(TEXT)
    assert nncodec.decompress(s3.get("y.nnc")) == TEXT
    result = cli("test", f"{chain}/none")
    assert_one_error(result, f"{chain}/none", "no such file")


@pytest.mark.parametrize("force", [[], ["-f"]])
def test_a_bucket_is_no_output(s3: S3, force: list[str]) -> None:
    result = tiny("-o", f"s3://{BUCKET}", *force, stdin=TEXT)
    assert_one_error(result, "(standard input)", f"s3://{BUCKET}: is a bucket; name a file in it")
    for mode in ("w", "x"):
        with pytest.raises(RemoteError, match="is a bucket; name a file in it"):
            nncodec.open(f"s3://{BUCKET}", mode, level=1)


def test_keys_with_the_sign_of_chains(s3: S3, tmp_path: Path) -> None:
    s3.put("a::b/x::y.txt", TEXT)
    assert tiny(url("a::b/x::y.txt")).rc == 0
    assert s3.names() == ["a::b/x::y.txt", "a::b/x::y.txt.nnc"]
    assert cli("test", "-r", url("a::b")).rc == cli("test", url("a::b/*.nnc")).rc == 0
    assert cli("decompress", "-c", url("a::b/x::y.txt.nnc")).out == TEXT
    for name in (f"simplecache::{url('a::b')}", f"zip://x::{url('a::b.zip')}"):
        assert_one_error(cli("test", name), name, "no chain reaches a name with :: in it")


def test_many_files_are_not_asked_for_one_by_one(s3: S3) -> None:
    for i in range(20):
        s3.put(f"logs/{i}", b"x")
    s3.server.requests.clear()
    from nncodec.remote.listing import expand

    assert len(expand(url("logs/*"))) == len(expand(url("logs"), recursive=True)) == 20
    assert len(s3.server.requests) <= 8


def test_the_rest_goes_on(s3: S3) -> None:
    good, bad = s3.put("good", TEXT), url("bad")
    result = tiny("-q", bad, good, "s3://no-such-bucket/x")
    assert result.rc == 1
    assert result.errors == [
        f"nncodec: {bad}: no such file; check its name",
        "nncodec: s3://no-such-bucket/x: no such bucket; make it first, or check its name",
    ]
    assert s3.names() == ["good", "good.nnc"]


def test_no_bucket_is_known_before_anything_is_done(s3: S3) -> None:
    result = tiny("-o", "s3://no-such-bucket/x", stdin=TEXT)
    assert_one_error(result, "(standard input)", "s3://no-such-bucket/x: no such bucket")
    assert not [r for r in s3.server.requests if r.method in ("PUT", "POST")]


def test_removing_what_was_verified(s3: S3, tmp_path: Path) -> None:
    s3.put("x", TEXT)
    result = tiny("--rm", "-v", url("x"))
    assert result.rc == 0
    assert f"verified {url('x.nnc')}, removed" in result.err
    assert s3.names() == ["x.nnc"]
    assert cli("decompress", "--rm", url("x.nnc")).rc == 0
    assert (s3.names(), s3.get("x")) == (["x"], TEXT)

    (tmp_path / "x").write_bytes(TEXT)
    assert tiny("--rm", tmp_path / "x", "-o", url("y.nnc")).rc == 0
    assert (names(tmp_path), nncodec.decompress(s3.get("y.nnc"))) == ([], TEXT)


def test_what_is_not_what_was_written_removes_nothing(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nncodec.cli import commands

    verified = commands.remove_verified

    def spoiled(*args: Any) -> None:
        s3.put("x.nnc", stored_archive(b"another"))
        verified(*args)

    monkeypatch.setattr(commands, "remove_verified", spoiled)
    s3.put("x", TEXT)
    assert_one_error(tiny("-q", "--rm", url("x")), url("x"), "differs from what its archive holds")
    assert "x" in s3.names()


def test_recovering(s3: S3) -> None:
    data, archive = many_blocks(frames=2)
    damaged = bytearray(archive)
    damaged[-5] ^= 1
    s3.put("x.nnc", bytes(damaged))
    result = cli("recover", url("x.nnc"), "--json")
    report = json.loads(result.out)
    assert (result.rc, report["output"], report["blocks_lost"]) == (1, url("x.recovered"), 1)
    assert s3.get("x.recovered") == data[:-20_000] + bytes(20_000)


def test_open_reads_and_writes(s3: S3) -> None:
    with nncodec.open(url("x.nnc"), "wb", level=1) as file:
        file.write(TEXT)
        assert s3.names() == []
    assert nncodec.decompress(s3.get("x.nnc")) == TEXT
    with nncodec.open(url("x.nnc")) as file:
        assert file.seekable()
        file.seek(10)
        assert (file.read(20), file.tell()) == (TEXT[10:30], 30)
        assert file.name == url("x.nnc")
    with nncodec.open(url("t.nnc"), "wt", level=1, encoding="utf-8") as file:
        file.write("zwölf\n")
    with nncodec.open(url("t.nnc"), "rt", encoding="utf-8") as file:
        assert list(file) == ["zwölf\n"]
    with pytest.raises(RemoteExistsError), nncodec.open(url("x.nnc"), "xb"):
        pass
    with pytest.raises(RemoteError, match="cannot be appended to"):
        nncodec.open(url("x.nnc"), "ab")
    with pytest.raises(FileNotFoundError, match="s3://bucket/none: no such file"):
        nncodec.open(url("none"))
    assert nncodec.decompress(s3.get("x.nnc")) == TEXT


@pytest.mark.parametrize("mode", ["wb", "wt"])
def test_an_exception_keeps_what_is_written_from_appearing(s3: S3, mode: str) -> None:
    text: Any = TEXT.decode() if mode == "wt" else TEXT

    def fail() -> None:
        with nncodec.open(url("x.nnc"), mode, level=1) as file:
            file.write(text)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    forgotten = nncodec.open(url("x.nnc"), mode, level=1)
    forgotten.write(text)
    del forgotten
    assert (s3.names(), s3.pending()) == ([], [])


def test_an_exception_calls_parts_off(s3: S3) -> None:
    def interrupted() -> None:
        with sink.uploading(Store(url("x"))) as file:
            file.write(DATA)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (s3.names(), s3.pending()) == ([], [])
    assert any("uploads" in r.query for r in s3.server.requests)


def test_errors_say_what_helps(s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RemotePermissionError, match=r"s3://bucket/secret: permission denied .*AWS"):
        open_source(url("secret"))
    with pytest.raises(RemoteNotFoundError, match="no such bucket"):
        open_source("s3://no-such-bucket/x")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(RemotePermissionError, match="no credentials; set AWS_ACCESS_KEY_ID"):
        open_source(url("x"))

    monkeypatch.undo()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(RemoteError, match=r"nothing answers there; .*AWS_ENDPOINT_URL"):
        open_source(url("x"))
    s3fs.S3FileSystem.clear_instance_cache()


def test_ranges_for_workers(s3: S3) -> None:
    """In this process and in others, of the version that whoever asks has seen."""
    s3.put("x", DATA)
    with open_source(url("x")) as file:
        assert isinstance(file, RemoteSource)
        version = file.version
    assert fetch(url("x"), 5, 10, version) == DATA[5:10]
    s3.server.requests.clear()
    assert fetch(url("x"), 0, 1 << 20, version) == DATA[: 1 << 20]
    assert len(s3.server.requests) == 1  # the file stays open
    with pytest.raises(RemoteError, match="are not inside"):
        fetch(url("x"), 0, len(DATA) + 1)
    code = f"from nncodec.remote.source import fetch; print(fetch({url('x')!r}, 5, 10))"
    result = run_python(code)
    assert result.stdout.strip() == repr(DATA[5:10]).encode(), python_fails(result)
    s3.put("x", DATA[::-1])
    with pytest.raises(RemoteChangedError):
        fetch(url("x"), 5, 10, version)
    assert fetch(url("x"), 5, 10) == DATA[::-1][5:10]


def test_nnz_reads_urls_and_replaces_none(s3: S3) -> None:
    s3.put("x.nnc", stored_archive(b"precious"))
    nnzcat = "from nncodec.cli.nnz import cat; cat()"
    assert run_python(nnzcat, url("x.nnc")).stdout == b"precious"
    result = run_python("from nncodec.cli.nnz import main; main()", "-d", url("x.nnc"))
    assert result.returncode == 1
    assert b"nnz replaces local files alone" in result.stderr
    assert s3.names() == ["x.nnc"]
