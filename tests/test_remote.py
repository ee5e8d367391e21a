"""Files behind URLs without S3: names, memory, HTTP, tensors, and what local files never import."""

from __future__ import annotations

import http.server
import pickle
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from container_files import safetensors_file, zip_of
from helpers import TEXT, python_fails, run_python, stored_archive
from safetensors.numpy import save
from test_cli import assert_one_error, cli, names, tiny

import nncodec
from nncodec.cli.files import expand
from nncodec.errors import MissingPackageError, RemoteError, RemotePermissionError
from nncodec.remote import sink, source, tensors
from nncodec.remote.names import is_remote, last_part, plain
from nncodec.remote.source import RemoteSource, RemoteStream, open_source
from nncodec.remote.store import Store, explain
from nncodec.tensors.spans import find_spans

fsspec = pytest.importorskip("fsspec", reason="no fsspec")


@pytest.fixture
def memory() -> Iterator[Any]:
    """What ``memory://`` has, emptied."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()


@pytest.mark.parametrize(
    ("name", "remote"),
    [
        ("s3://bucket/key", True),
        ("https://host/x?a=b", True),
        ("simplecache::s3://bucket/key", True),
        ("zip://member::s3://bucket/x.zip", True),
        ("abfs+ssl://x", True),
        ("c://windows", False),
        ("C:\\windows", False),
        ("s3:/bucket", False),
        ("-", False),
        ("a b://x", False),
        ("dir/s3://x", False),
        ("/x", False),
    ],
)
def test_what_is_a_url(name: str, remote: bool) -> None:
    assert is_remote(name) == remote


def test_local_urls_are_paths(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(TEXT)
    assert plain(f"file://{tmp_path}/x") == f"{tmp_path}/x"
    assert tiny(f"file://{tmp_path}/x").rc == 0
    with nncodec.open(f"file://{tmp_path}/x.nnc") as file:
        assert file.read() == TEXT
    assert tiny(tmp_path / "x", "-o", f"file://{tmp_path}/y").rc == 0
    assert names(tmp_path) == ["x", "x.nnc", "y"]


@pytest.mark.parametrize("command", [["--help"], ["compress", "-1", "-f", "x"], ["test", "x.nnc"]])
def test_local_files_import_no_file_systems(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "x").write_bytes(TEXT)
    (tmp_path / "x.nnc").write_bytes(stored_archive(TEXT))
    code = """
import atexit, sys
from nncodec.cli import main
atexit.register(lambda: print(sorted({"fsspec", "s3fs", "aiohttp"} & set(sys.modules))))
main()
"""
    result = run_python(code, *command, cwd=tmp_path)
    assert result.stdout.endswith(b"[]\n"), python_fails(result)


def test_there_and_back_in_memory(memory: Any, tmp_path: Path) -> None:
    memory.pipe_file("/d/x", TEXT)
    assert tiny("memory://d/x").rc == 0
    (tmp_path / "x").write_bytes(TEXT)
    assert tiny(tmp_path / "x").rc == 0
    assert memory.cat_file("/d/x.nnc") == (tmp_path / "x.nnc").read_bytes()
    for result, there in (  # one name, from which the other follows
        (tiny("memory://d/x"), "memory://d/x.nnc"),
        (cli("decompress", "memory://d/x.nnc"), "memory://d/x"),
    ):
        assert (result.rc, result.out) == (1, b"")
        assert result.errors == [f"nncodec: {there} already exists; use -f to overwrite"]
    assert cli("test", "memory://d/*.nnc").rc == 0
    assert cli("decompress", "--range", "3:9", "memory://d/x.nnc").out == TEXT[3:9]
    assert cli("decompress", "-f", "--rm", "memory://d/x.nnc").rc == 0
    assert memory.find("/") == ["/d/x"]
    with nncodec.open("memory://d/y.nnc", "w", level=1) as file:
        file.write(TEXT)
    assert nncodec.decompress(memory.cat_file("/d/y.nnc")) == TEXT


def test_stores_without_uploads_get_a_file_that_is_renamed(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "PART", 100)
    with sink.uploading(Store("memory://d/x")) as file:
        file.write(TEXT)
        assert not memory.exists("/d/x")
    assert (memory.find("/"), memory.cat_file("/d/x")) == (["/d/x"], TEXT)

    upload = sink.Upload(Store("memory://d/y"), replace=False)
    upload.write(TEXT)
    memory.pipe_file("/d/y", b"theirs")
    with pytest.raises(RemoteError, match="already exists"):
        upload.finish()
    upload.abort()
    assert (memory.find("/"), memory.cat_file("/d/y")) == (["/d/x", "/d/y"], b"theirs")


def test_single_tensors_behind_a_url(tmp_path: Path, memory: Any) -> None:
    rng = np.random.default_rng(3)
    made = {n: rng.normal(size=(64, 64)).astype(np.float32) for n in ("first", "second")}
    archive = nncodec.compress(save(made), 1)
    memory.pipe_file("/model.safetensors.nnc", archive)
    url = "memory://model.safetensors.nnc"
    with nncodec.weights.open(url) as file:
        assert np.array_equal(file["second"], made["second"])
    listed = cli("weights", "ls", url)
    assert (listed.rc, b"first" in listed.out, b"second" in listed.out) == (0, True, True)
    assert cli("weights", "get", url, "first", "-o", tmp_path / "first.npy").rc == 0
    assert np.array_equal(np.load(tmp_path / "first.npy"), made["first"])
    missing = cli("weights", "ls", "memory://nothing.nnc")
    assert (missing.rc, "no such file" in missing.err) == (1, True)


def test_patterns(memory: Any) -> None:
    for name in ("/d/b.txt", "/d/a.txt", "/d/e/c.txt", "/d/a.txt.nnc", "/d/what?.txt"):
        memory.pipe_file(name, b"x")
    assert expand("memory://d/[ab].txt") == ["memory://d/a.txt", "memory://d/b.txt"]
    assert expand("memory://d/**/c.*") == ["memory://d/e/c.txt"]
    assert expand("memory://d/what?.txt") == ["memory://d/what?.txt"]
    below = ["a.txt", "b.txt", "e/c.txt", "what?.txt"]
    assert expand("memory://d", True, packed=False) == [f"memory://d/{name}" for name in below]
    assert expand("memory://d/", True, packed=True) == ["memory://d/a.txt.nnc"]
    assert expand("https://host/x?y=*") == ["https://host/x?y=*"]


def test_local_folders_with_and_without_recursion(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "e").mkdir(parents=True)
    for name in ("a", "e/b", "c.nnc"):
        (folder / name).write_bytes(TEXT)
    (folder / "link").symlink_to("a")
    assert_one_error(cli("compress", folder), folder, "is a directory")
    assert cli("compress", "-l1", "-q", "-r", folder).rc == 0
    assert names(folder) == ["a", "a.nnc", "c.nnc", "e", "link"]
    assert names(folder / "e") == ["b", "b.nnc"]
    (folder / "c.nnc").unlink()
    assert cli("decompress", "-r", "-c", folder).out == TEXT + TEXT
    result = cli("test", "-r", folder)
    tested = [f"{folder / name}: OK" for name in ("a.nnc", "e/b.nnc")]
    assert (result.rc, result.err.splitlines()) == (0, tested)


def test_files_that_shrink_or_change_in_memory_are_errors(memory: Any) -> None:
    memory.pipe_file("/x", TEXT)
    with open_source("memory://x") as file:
        assert isinstance(file, RemoteSource)
        memory.pipe_file("/x", TEXT[::-1])
        with pytest.raises(RemoteError, match="was replaced while it was read"):
            file.check_unchanged()


# HTTP


class Ranges(http.server.SimpleHTTPRequestHandler):
    """``before``: what happens before an answer. Ranges as RFC 9110 has them, and ETags."""

    ranges = True

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if self.path.startswith("/broken"):
            return self.send_error(503)
        if self.path.startswith("/denied"):
            return self.send_error(403)
        if not path.is_file():
            return self.send_error(404)
        data, tag = path.read_bytes(), f'"{path.stat().st_mtime_ns}"'
        if self.headers.get("If-Match", tag) != tag:
            return self.send_error(412)
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        ranged = bool(span) and self.ranges
        if span and ranged:
            begin, end = int(span[1]), min(int(span[2]) + 1, len(data))
            total, data = len(data), data[begin:end]
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{total}")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", tag)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)
        return None

    do_HEAD = do_GET

    def log_message(self, *_args: object) -> None:
        """Nothing."""


class NoRanges(Ranges):
    ranges = False


class BreaksOff(Ranges):
    """Of the first long ranges only half comes, although more was promised."""

    times = 2

    def do_GET(self) -> None:
        if self.headers.get("Range", "").endswith("-1") or not type(self).times:
            super().do_GET()
            return
        if "Range" in self.headers:
            type(self).times -= 1
            self.wfile = HalfWriter(self.wfile)  # type: ignore[assignment]
        super().do_GET()


class HalfWriter:
    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> int:
        headers = data.startswith(b"HTTP/")
        return int(self.file.write(data if headers else data[: len(data) // 2]))


@contextmanager
def serving(folder: Path, handler: type[Ranges]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(params=[Ranges, NoRanges], ids=["ranges", "no ranges"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path, bool]]:
    """An address, the folder that it shows, and whether in ranges."""
    pytest.importorskip("aiohttp", reason="no aiohttp to speak HTTP with")
    folder = tmp_path / "shown"
    folder.mkdir()
    with serving(folder, request.param) as address:
        yield address, folder, request.param is Ranges


def test_http_is_read(
    web: tuple[str, Path, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, folder, ranges = web
    (folder / "x y").write_bytes(TEXT)
    (folder / "x.nnc").write_bytes(stored_archive(TEXT))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert cli("decompress", f"{address}/x.nnc?token=1").rc == 0  # into the folder we are in
    assert (here / "x").read_bytes() == TEXT
    assert tiny(f"{address}/x%20y").rc == 0
    assert nncodec.decompress((here / "x y.nnc").read_bytes()) == TEXT
    assert names(here) == ["x", "x y.nnc"]
    assert cli("test", f"{address}/x.nnc").rc == 0
    with nncodec.open(f"{address}/x.nnc") as file:
        assert (file.read(), file.seekable()) == (TEXT, ranges)
    part = cli("decompress", "--range", "1:5", f"{address}/x.nnc")
    assert (part.rc, part.out) == ((0, TEXT[1:5]) if ranges else (1, b""))
    with open_source(f"{address}/x.nnc") as file:
        assert type(file) is (RemoteSource if ranges else RemoteStream)
    assert names(folder) == ["x y", "x.nnc"]


def test_http_is_not_written(web: tuple[str, Path, bool]) -> None:
    address, folder, _ = web
    (folder / "x").write_bytes(TEXT)
    result = tiny("-o", f"{address}/y", stdin=TEXT)
    assert_one_error(result, "(standard input)", "http is for reading")
    assert_one_error(tiny("--rm", f"{address}/x"), f"{address}/x", "http is for reading")
    assert_one_error(tiny(f"{address}/"), f"{address}/", "names no file to call the output after")
    with pytest.raises(RemoteError, match="http is for reading"):
        nncodec.open(f"{address}/x", "w")
    assert names(folder) == ["x"]


def test_http_errors(web: tuple[str, Path, bool]) -> None:
    address = web[0]
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_source(f"{address}/none")
    with pytest.raises(RemotePermissionError, match="permission denied"):
        open_source(f"{address}/denied")
    with pytest.raises(RemoteError, match=r"the server fails \(HTTP status 503\)"):
        open_source(f"{address}/broken")
    with pytest.raises(RemoteError, match="nothing answers there"):
        open_source("http://127.0.0.1:1/x")


def test_a_file_on_the_web_that_is_replaced_meanwhile(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="no aiohttp to speak HTTP with")
    (tmp_path / "x").write_bytes(TEXT)
    with serving(tmp_path, Ranges) as address, open_source(f"{address}/x") as file:
        assert file.read(5) == TEXT[:5]
        (tmp_path / "y").write_bytes(TEXT[::-1])
        (tmp_path / "y").rename(tmp_path / "x")
        with pytest.raises(RemoteError, match="was replaced while it was read"):
            file.check_unchanged()
        assert isinstance(file, RemoteSource)
        with pytest.raises(RemoteError, match="was replaced while it was read"):
            file.fetch(10, 20)


def test_answers_on_the_web_that_break_off_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp", reason="no aiohttp to speak HTTP with")
    monkeypatch.setattr(source, "PAUSE", 0)
    (tmp_path / "x").write_bytes(TEXT)
    with serving(tmp_path, BreaksOff) as address, open_source(f"{address}/x") as file:
        assert file.read() == TEXT
    assert BreaksOff.times == 0


def shown_and_zipped(folder: Path) -> None:
    """``x``, its archive ``x.nnc``, and a zip of both."""
    files = {"x": TEXT, "x.nnc": stored_archive(TEXT)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "x.zip").write_bytes(zip_of(files))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # blockcache leaks
@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_chains_of_caches_on_the_web(
    web: tuple[str, Path, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    address, folder, ranges = web
    if cache == "blockcache" and not ranges:
        pytest.skip("needs ranges")
    shown_and_zipped(folder)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    chain = f"{cache}::{address}"
    assert cli("test", f"{chain}/x.nnc").rc == 0
    assert cli("info", f"{chain}/x.nnc").rc == 0
    assert cli("decompress", "--range", "3:9", f"{chain}/x.nnc").out == TEXT[3:9]
    assert tiny(f"{chain}/x").rc == 0
    assert nncodec.decompress((here / "x.nnc").read_bytes()) == TEXT
    assert_one_error(cli("test", f"{chain}/none"), f"{chain}/none", "no such file")
    with nncodec.open(f"{chain}/x.nnc") as file:
        assert (file.read(), file.seek(5), file.read(3)) == (TEXT, 5, TEXT[5:8])


@pytest.mark.parametrize("way", ["file", "memory", "http", "simplecache::http"])
def test_chains_into_archives(memory: Any, tmp_path: Path, way: str) -> None:
    pytest.importorskip("aiohttp", reason="no aiohttp to speak HTTP with")
    shown_and_zipped(tmp_path)
    memory.pipe_file("/x.zip", (tmp_path / "x.zip").read_bytes())
    with serving(tmp_path, Ranges) as address:
        start = {"file": f"file://{tmp_path}", "memory": "memory:/"}.get(way)
        start = start or way.replace("http", address)
        chain = f"::{start}/x.zip"
        assert cli("test", f"zip://x.nnc{chain}").rc == 0
        assert cli("decompress", "--range", "3:9", f"zip://x.nnc{chain}").out == TEXT[3:9]
        assert tiny(f"zip://x{chain}", "-o", tmp_path / "y").rc == 0
        assert nncodec.decompress((tmp_path / "y").read_bytes()) == TEXT
        for url in (f"zip://none{chain}", f"zip://x.nnc{chain}.none"):
            assert_one_error(cli("test", url), url, "no such file")


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_outputs_of_what_is_inside_an_archive_are_named(tmp_path: Path, command: str) -> None:
    shown_and_zipped(tmp_path)
    chain = f"::file://{tmp_path}/x.zip"
    member = f"zip://x{chain}" if command == "compress" else f"zip://x.nnc{chain}.nnc"
    assert_one_error(cli(command, member), member, "is inside another file; name the output")
    result = cli(command, tmp_path / "x", "-o", f"zip://y{chain}")
    assert_one_error(result, tmp_path / "x", "is inside another file; write to")
    assert names(tmp_path) == ["x", "x.nnc", "x.zip"]


def test_a_copy_of_another_file_is_an_error(memory: Any) -> None:
    memory.pipe_file("/x", TEXT)
    with open_source("filecache::memory://x") as file:
        assert file.read() == TEXT
    memory.pipe_file("/x", TEXT[1:])
    with pytest.raises(RemoteError, match="its copy is of another file"):
        open_source("filecache::memory://x")
    assert_one_error(tiny("--rm", "simplecache::memory://x"), "simplecache::memory://x", "a copy")
    assert memory.cat_file("/x") == TEXT[1:]


def test_addresses_of_ipv6_are_no_chains() -> None:
    pytest.importorskip("aiohttp", reason="no aiohttp to speak HTTP with")
    url = "http://[::1]:8000/x"
    store = Store(url)
    assert (store.path, store.chained, last_part(url)) == (url, False, "x")


def test_names_after_urls() -> None:
    assert last_part("https://host/a/b%20c.nnc?x=/y#z") == "b c.nnc"
    for url in ("https://host", "https://host/a/", "https://host/a%2F..", "https://host/..%5C"):
        with pytest.raises(RemoteError, match="names no file"):
            last_part(url)


# What is missing


def test_unknown_protocols_and_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_one_error(cli("test", "foo://x"), "foo://x", "unknown protocol foo")
    assert_one_error(tiny("foo://x"), "foo://x.nnc", "unknown protocol foo")
    error = explain("gs://x", "gs", ImportError("Please install gcsfs"))
    assert isinstance(error, MissingPackageError)
    assert str(error) == "gs://x: needs gcsfs: install it with pip install 'nncodec-lm[remote]'"
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert_one_error(
        cli("test", "s3://x/y"),
        "s3://x/y",
        r"needs fsspec: install it with pip install 'nncodec-lm\[remote\]'",
    )


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(RemotePermissionError("s3://x", "why")))
    assert (type(error), str(error)) == (RemotePermissionError, "s3://x: why")


# Tensors


def weights(dtype: str, kind: type, size: int = 20_000) -> bytes:
    values = np.random.default_rng(5).normal(size=size)
    array = (values * 1000 if kind is np.int32 else values).astype(kind)
    entry = {"dtype": dtype, "shape": [size // 100, 100], "data_offsets": [0, array.nbytes]}
    return safetensors_file({"a": entry}, array.tobytes())


def npz(tmp_path: Path) -> bytes:
    rng = np.random.default_rng(6)
    arrays = {f"a{i}": rng.normal(size=(50, 100)).astype(np.float32) for i in range(3)}
    np.savez(tmp_path / "arrays.npz", **arrays)
    return (tmp_path / "arrays.npz").read_bytes()


@pytest.mark.parametrize("what", ["F32", "I32", "mostly bytes", "npz", "zip", "text"])
def test_archives_of_tensors_are_those_of_local_files(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Longer than a frame, which is where a stream would not show a container."""
    files = {
        "F32": lambda: weights("F32", np.float32),
        "I32": lambda: weights("I32", np.int32),
        "mostly bytes": lambda: weights("F32", np.float32, 2000) + TEXT * 100,
        "npz": lambda: npz(tmp_path),
        "zip": lambda: zip_of({"a.txt": TEXT * 5, "b.txt": TEXT}),
        "text": lambda: TEXT * 10,
    }
    data = files[what]()
    monkeypatch.setattr(tensors, "frame_bytes", lambda: 1000)
    monkeypatch.setattr(tensors, "HELD", 80_000)  # more than what is coded at once
    (tmp_path / "x").write_bytes(data)
    memory.pipe_file("/x", data)
    with open_source("memory://x", ahead=True) as file:
        assert isinstance(file, RemoteSource)
        spans = tensors.find_remote_spans(file)
        assert spans == find_spans(memoryview(data))
        assert bool(spans) == (what not in ("zip", "text"))
        assert file.read() == data  # as if nothing had been looked for
    blocks = "--block-size=16K"
    assert cli("compress", "-l1", "-q", blocks, tmp_path / "x", "memory://x").rc == 0
    assert memory.cat_file("/x.nnc") == (tmp_path / "x.nnc").read_bytes()


def test_a_header_is_all_that_is_read_for_spans(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/x", weights("F32", np.float32))
    fetched = []
    fetch = RemoteSource.fetch
    monkeypatch.setattr(
        RemoteSource, "fetch", lambda self, a, b: fetched.append(b - a) or fetch(self, a, b)
    )
    with open_source("memory://x", ahead=True) as file:
        assert isinstance(file, RemoteSource)
        assert len(tensors.find_remote_spans(file)) == 1
    assert sum(fetched) <= 2 * source.WINDOW


def test_a_remote_base(memory: Any, tmp_path: Path) -> None:
    old = weights("F32", np.float32, 4000)
    memory.pipe_file("/old", old)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(old[:-400] + bytes(400))
    args = ("compress", "-l1", "-q", tmp_path / "new", "-o")
    assert cli(*args, tmp_path / "a", "--base", tmp_path / "old").rc == 0
    assert cli(*args, tmp_path / "b", "--base", "memory://old").rc == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert cli("decompress", "-c", tmp_path / "a", "--base", "memory://old").out[-400:] == bytes(
        400
    )
