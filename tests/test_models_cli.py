"""``nncodec models``: ids are computed, records compared, downloads verified before they count."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hub_server
import huggingface_hub
import pytest
from helpers import CLI, python_fails, run_python
from huggingface_hub import constants, errors
from safetensors.numpy import save_file
from test_cli import Result, assert_one_error, cli, names
from test_modelstore import install, variant

from nncodec import hub, manifest, modelstore
from nncodec.cli import level_options
from nncodec.config import FLOAT_FILE
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import HubError, InvalidModelError, NNCodecError
from nncodec.modelcard import read_card
from nncodec.numerics import NUMERIC_VERSION

ROOT = Path(__file__).resolve().parent.parent
CARD = """\
---
license: "mit"
tags: [a, 'b c']
datasets:
- one
- two
model-index:
- name: x
  results: y
title: \x1b[31mred
---
# x

| not | this |
|--|--|
| 1 | 2 |

Held-out documents:

| code | mean |
|--:|:-:|
| 1.5 | 2 |
| - | 3.25 |

| nor | this |
|--|--|
"""


@pytest.fixture
def folder(home: Path, tiny_model: EngineModel) -> Path:
    """A model installed as ``m``, with a card and something in the float checkpoint's place."""
    path = install(tiny_model, home / "m")
    (path / "README.md").write_text(CARD)
    (path / FLOAT_FILE).write_bytes(b"floats")
    return path


def write_manifest(folder: Path, **changes: Any) -> None:
    row = {**manifest.describe(folder), **changes}
    (folder.parent / "MANIFEST.json").write_text(json.dumps([row]))


def rewrite(model: EngineModel, folder: Path, metadata: dict[str, str] | None) -> None:
    save_file(model.tensors, folder / WEIGHTS_FILE, metadata=metadata)


def row_of(result: Result, name: str) -> dict[str, Any]:
    return next(row for row in json.loads(result.out) if row["name"] == name)


def test_list(folder: Path, tiny_model: EngineModel) -> None:
    listed = cli("models", "list", "--json")
    assert row_of(listed, "m") == {
        "name": "m",
        "id": tiny_model.model_id.hex(),
        "numeric_version": NUMERIC_VERSION,
        "parameters": tiny_model.parameters,
        "bytes": sum(value.nbytes for value in tiny_model.tensors.values()),
        "folder": str(folder),
    }
    assert cli("models", "--json").out == listed.out
    table = cli("models")
    assert (table.rc, table.err) == (0, "")
    assert tiny_model.model_id.hex() in table.out.decode()
    assert cli("models", "list").out == table.out


def test_list_computes_the_id(folder: Path, tiny_model: EngineModel) -> None:
    record = {"model_id": "00" * 16, "numeric_version": "later"}
    rewrite(tiny_model, folder, record)
    row = row_of(cli("models", "--json"), "m")
    assert (row["id"], row["numeric_version"]) == (tiny_model.model_id.hex(), None)


def test_list_names_the_broken_and_goes_on(folder: Path) -> None:
    broken = folder.parent / "broken"
    shutil.copytree(folder, broken)
    (broken / "config.json").write_text("{}")
    result = cli("models", "--json")
    assert result.rc == 1
    assert len(result.errors) == 1
    assert str(broken) in result.errors[0]
    assert row_of(result, "m")


def test_show(folder: Path, tiny_model: EngineModel) -> None:
    write_manifest(folder)
    details = json.loads(cli("models", "show", "m", "--json").out)
    assert details["id"] == tiny_model.model_id.hex()
    assert details["config"]["d_model"] == tiny_model.config.d_model
    assert details["files"][WEIGHTS_FILE] == (folder / WEIGHTS_FILE).stat().st_size
    assert details["licence"] == "mit"
    assert details["card"] == {
        "license": "mit",
        "tags": ["a", "b c"],
        "datasets": ["one", "two"],
        "model-index": "- name: x\nresults: y",
        "title": "\x1b[31mred",
    }
    assert details["held_out"] == [{"code": 1.5, "mean": 2}, {"code": "-", "mean": 3.25}]
    assert details["manifest"] == {"id": tiny_model.model_id.hex(), "agrees": True}
    by_folder = cli("models", "show", folder)
    assert (by_folder.rc, by_folder.err) == (0, "")
    lines = by_folder.out.decode().splitlines()
    assert lines[-3].split() == ["code", "mean"]
    assert lines[-2].split() == ["1.5", "2.0"]
    assert "\x1b" not in by_folder.out.decode()
    assert any(line.split() == ["manifest", "has", "this", "id"] for line in lines)


def test_show_without_card_and_manifest(folder: Path) -> None:
    (folder / "README.md").unlink()
    details = json.loads(cli("models", "show", "m", "--json").out)
    assert [details[key] for key in ("licence", "card", "held_out", "manifest")] == [None] * 4
    assert "does not name this folder" in cli("models", "show", "m").out.decode()
    write_manifest(folder, id="00" * 16)
    assert json.loads(cli("models", "show", "m", "--json").out)["manifest"]["agrees"] is False
    assert "has another id" in cli("models", "show", "m").out.decode()
    assert_one_error(cli("models", "show", "none"), "none", "no model named 'none'")


@pytest.mark.parametrize("text", ["", "---\nlicense: mit\n", "# x\n---\nlicense: mit\n---\n"])
def test_cards_without_front_matter(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    card = read_card(tmp_path)
    assert card
    assert (card.front_matter, card.licence, card.held_out) == ({}, None, [])


def test_the_shipped_card_is_understood() -> None:
    card = read_card(ROOT / "models" / "nano")
    assert card
    assert card.licence == "apache-2.0"
    assert isinstance(card.held_out[0]["mean"], float)


def test_verify(folder: Path, tiny_model: EngineModel) -> None:
    alone = cli("models", "verify", "m")
    assert (alone.rc, alone.err) == (0, "")
    assert alone.out.decode().startswith(f"m: ok (id {tiny_model.model_id.hex()}, ")
    assert "not in a manifest" in alone.out.decode()
    write_manifest(folder)
    assert row_of(cli("models", "verify", folder, "--json"), "m") == {
        "name": "m",
        "folder": str(folder),
        "ok": True,
        "id": tiny_model.model_id.hex(),
        "problems": [],
        "in_manifest": True,
        "agreeing": ["config.json", WEIGHTS_FILE, FLOAT_FILE],
        "absent": [],
    }


def test_verify_all_that_are_installed(folder: Path) -> None:
    """Those that ship with the package too: what this release contains is what it claims."""
    result = cli("models", "verify")
    assert (result.rc, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert len(lines) == len(list(modelstore.installed()))
    shipped = next(line for line in lines if line.split(":")[0].endswith("nano"))
    assert f"manifest agrees on the id and config.json, {WEIGHTS_FILE}" in shipped
    assert lines[-1].startswith(f"{folder}: ok")


def test_verify_a_wheel_which_has_no_float_weights(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models")
    nano = tmp_path / "models" / "nano"
    (nano / FLOAT_FILE).unlink()
    result = cli("models", "verify", nano)
    assert (result.rc, result.err) == (0, "")
    assert f"not here: {FLOAT_FILE}" in result.out.decode()


def tamper(model: EngineModel, folder: Path) -> None:
    raw = bytearray((folder / WEIGHTS_FILE).read_bytes())
    raw[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(raw)


def truncate(model: EngineModel, folder: Path) -> None:
    os.truncate(folder / WEIGHTS_FILE, (folder / WEIGHTS_FILE).stat().st_size - 1)


def other_record(model: EngineModel, folder: Path) -> None:
    record = {"model_id": "00" * 16, "numeric_version": str(NUMERIC_VERSION)}
    rewrite(model, folder, record)


def no_record(model: EngineModel, folder: Path) -> None:
    rewrite(model, folder, None)


def later_version(model: EngineModel, folder: Path) -> None:
    record = {"model_id": model.model_id.hex(), "numeric_version": str(NUMERIC_VERSION + 1)}
    rewrite(model, folder, record)


def other_config(model: EngineModel, folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    values["windows"][0] += 1
    (folder / "config.json").write_text(json.dumps(values))


DAMAGE = {
    tamper: f"the id of these weights is .*, {WEIGHTS_FILE} says ",
    truncate: "cannot be read",
    other_record: f"{WEIGHTS_FILE} says {'00' * 16}",
    no_record: "records no model_id and no numeric_version",
    later_version: f"says numeric version {NUMERIC_VERSION + 1}, this release computes",
    other_config: f"the id of these weights is .*, {WEIGHTS_FILE} says ",
}
damaged = pytest.mark.parametrize(
    ("damage", "message"), DAMAGE.items(), ids=[f.__name__ for f in DAMAGE]
)
Damage = Callable[[EngineModel, Path], None]


@damaged
def test_verify_finds(folder: Path, tiny_model: EngineModel, damage: Damage, message: str) -> None:
    damage(tiny_model, folder)
    assert_one_error(cli("models", "verify", "m"), "m", message)
    result = cli("models", "verify", "m", "tiny", "--json")
    assert (result.rc, len(result.errors)) == (1, 2)  # nothing is called tiny here
    assert row_of(result, "m")["ok"] is False
    assert len(row_of(result, "m")["problems"]) == 1


def test_verify_says_ok_of_the_others(folder: Path, tiny_model: EngineModel) -> None:
    shutil.copytree(folder, folder.parent / "other")
    tamper(tiny_model, folder)
    result = cli("models", "verify", "m", "none", "other")
    assert result.rc == 1
    assert [line.split(":")[1].strip() for line in result.errors] == ["m", "none"]
    assert result.out.decode().startswith("other: ok")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "00" * 16}, f"the id of these weights is .*, MANIFEST.json says {'00' * 16}"),
        ({"numeric_version": NUMERIC_VERSION + 1}, "MANIFEST.json says numeric version"),
        ({"sha256": {FLOAT_FILE: "00" * 32}}, f"{FLOAT_FILE} is not the file of MANIFEST.json"),
        ({"sha256": ["x"]}, "is no manifest"),
        ({"sha256": {"config.json": "x"}}, "is no manifest"),
        ({"id": 5}, "is no manifest"),
    ],
)
def test_verify_compares_the_manifest(folder: Path, changes: Any, message: str) -> None:
    write_manifest(folder, **changes)
    assert_one_error(cli("models", "verify", "m"), "m", message)


@pytest.mark.parametrize("text", ["", "{", '{"m": 1}', "[1]", "[{}]", "[" * 100_000])
def test_verify_with_a_broken_manifest(folder: Path, text: str) -> None:
    (folder.parent / "MANIFEST.json").write_text(text)
    assert_one_error(cli("models", "verify", "m"), "m", "MANIFEST.json: is no manifest")


def test_the_folder_one_is_in_has_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(folder)
    monkeypatch.chdir(folder)
    row = row_of(cli("models", "verify", ".", "--json"), "m")
    assert (row["ok"], row["in_manifest"]) == (True, True)
    (folder.parent / "link").symlink_to(folder, target_is_directory=True)
    assert row_of(cli("models", "verify", "../link", "--json"), "link")["in_manifest"] is False


def test_a_manifest_that_names_others_says_nothing(folder: Path) -> None:
    write_manifest(folder, name="n", id="00" * 16)
    assert "not in a manifest" in cli("models", "verify", "m").out.decode()


class FakeHub:
    """Stands in for huggingface_hub's functions: one repository, its files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.error: BaseException | None = None

    def snapshot_download(self, repo: str, **options: Any) -> str:
        self.calls.append((repo, options))
        if self.error:
            raise self.error
        snapshot = self.folder.parent / f"snapshot{len(self.calls)}"
        snapshot.mkdir()
        for name in names(self.folder):
            if any(fnmatch.fnmatch(name, pattern) for pattern in options["allow_patterns"]):
                (snapshot / name).symlink_to(self.folder / name)  # as in the hub's cache
        return str(snapshot)

    def create_repo(self, repo: str, **options: Any) -> str:
        self.calls.append((repo, options))
        return f"https://hub/{repo}"

    def upload_folder(self, **options: Any) -> None:
        if self.error:
            raise self.error
        self.calls.append((options.pop("repo_id"), options))


@pytest.fixture
def remote(
    tmp_path: Path, home: Path, tiny_model: EngineModel, monkeypatch: pytest.MonkeyPatch
) -> FakeHub:
    """A hub with ``user/m`` in it, which has more files than anyone asks for."""
    folder = install(tiny_model, tmp_path / "remote" / "m")
    for name in ("README.md", FLOAT_FILE, "pytorch_model.bin", "code.py"):
        (folder / name).write_bytes(b"x")
    fake = FakeHub(folder)
    for name in ("snapshot_download", "create_repo", "upload_folder"):
        monkeypatch.setattr(huggingface_hub, name, getattr(fake, name))
    return fake


def test_pull(remote: FakeHub, home: Path, tiny_model: EngineModel) -> None:
    result = cli("models", "pull", "user/m", "--revision", "v1")
    assert (result.rc, result.err) == (0, "")
    line = f"user/m: installed: {home / 'm'} (id {tiny_model.model_id.hex()})\n"
    assert result.out.decode() == line
    assert names(home / "m") == ["README.md", "config.json", WEIGHTS_FILE, "origin.json"]
    assert not any((home / "m" / name).is_symlink() for name in names(home / "m"))
    assert names(home) == ["m"]
    [(repo, options)] = remote.calls
    assert (repo, options["revision"]) == ("user/m", "v1")
    assert modelstore.find_by_id(tiny_model.model_id).model_id == tiny_model.model_id
    assert cli("models", "verify", "m").rc == 0


def test_pull_under_another_name_with_floats(remote: FakeHub, home: Path) -> None:
    assert cli("models", "pull", "user/m", "--name", "my.m-2_x", "--float").rc == 0
    assert names(home) == ["my.m-2_x"]
    assert FLOAT_FILE in names(home / "my.m-2_x")
    (remote.folder / FLOAT_FILE).unlink()
    result = cli("models", "pull", "user/m", "--float")
    assert_one_error(result, "user/m", f"has no {FLOAT_FILE}: pull without --float")
    assert names(home) == ["my.m-2_x"]


def test_pull_into_a_home_that_is_not_there_yet(remote: FakeHub, home: Path) -> None:
    home.rmdir()
    assert cli("models", "pull", "user/m").rc == 0
    assert names(home) == ["m"]


def test_pull_leaves_what_is_installed(
    remote: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a look at the network, and without huggingface_hub."""
    shutil.rmtree(folder)
    assert cli("models", "pull", "user/m").rc == 0
    remote.calls.clear()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    before = (folder / WEIGHTS_FILE).stat().st_mtime_ns
    result = cli("models", "pull", "user/m")
    assert (result.rc, result.err) == (0, "")
    assert "installed already" in result.out.decode()
    for other in (["other/m"], ["user/m", "--revision", "v2"]):
        assert_one_error(cli("models", "pull", *other), other[0], "another model.*--name")
    model_id = EngineModel.load(folder).model_id.hex()
    assert cli("models", "pull", "other/m", "--id", model_id).rc == 0
    assert remote.calls == []
    assert (folder / WEIGHTS_FILE).stat().st_mtime_ns == before


def test_pull_says_when_what_is_installed_will_not_do(
    remote: FakeHub, folder: Path, tiny_model: EngineModel
) -> None:
    result = cli("models", "pull", "user/m", "--id", "00" * 16)
    assert_one_error(result, "user/m", f"id is {tiny_model.model_id.hex()}, not 0000.*--force")
    truncate(tiny_model, folder)
    assert_one_error(cli("models", "pull", "user/m"), "user/m", "cannot be read.*--force")
    assert remote.calls == []


def test_pull_force_replaces(remote: FakeHub, folder: Path, tiny_model: EngineModel) -> None:
    newer = variant(tiny_model, 5)
    newer.save(remote.folder)
    assert cli("models", "pull", "user/m", "-f", "--id", newer.model_id.hex().upper()).rc == 0
    assert EngineModel.load(folder).model_id == newer.model_id
    assert names(folder) == [
        "README.md",
        "config.json",
        WEIGHTS_FILE,
        "origin.json",
    ]  # nothing of the older one
    assert names(folder.parent) == ["m"]


def test_pull_does_not_hide_behind_a_shipped_model(remote: FakeHub, home: Path) -> None:
    assert_one_error(cli("models", "pull", "user/nano"), "user/nano", "another model.*--name")
    result = cli("models", "pull", "user/nano", "--force")
    assert_one_error(result, "user/nano", "would hide .*--name")
    assert names(home) == []


def test_pull_leaves_what_is_no_model(remote: FakeHub, home: Path) -> None:
    (home / "m").mkdir()
    for args in ((), ("--force",)):
        assert_one_error(cli("models", "pull", "user/m", *args), "user/m", "is no model: remove")
    assert remote.calls == []


@pytest.mark.parametrize("again", [(), ("--force",)])
def test_pull_refuses_another_id(
    remote: FakeHub, home: Path, tiny_model: EngineModel, again: tuple[str, ...]
) -> None:
    if again:
        install(variant(tiny_model, 9), home / "m")
    result = cli("models", "pull", "user/m", *again, "--id", "ab" * 16)
    assert_one_error(result, "user/m", f"id is {tiny_model.model_id.hex()}, not {'ab' * 16}")
    assert names(home) == (["m"] if again else [])
    if again:
        assert modelstore.find("m").model_id == variant(tiny_model, 9).model_id


@damaged
def test_pull_refuses(
    remote: FakeHub, home: Path, tiny_model: EngineModel, damage: Damage, message: str
) -> None:
    damage(tiny_model, remote.folder)
    result = cli("models", "pull", "user/m")
    assert_one_error(result, "user/m", f"not installed: .*{message}")
    assert ".part" not in result.err
    assert names(home) == []


@pytest.mark.parametrize("file", ["config.json", WEIGHTS_FILE])
def test_pull_refuses_what_is_no_model(remote: FakeHub, home: Path, file: str) -> None:
    (remote.folder / file).unlink()
    assert_one_error(cli("models", "pull", "user/m"), "user/m", f"has no {file}: it is no nncodec")
    assert names(home) == []


NAMES = ["", ".", "..", "../x", "a/b", "a\\b", "/x", ".x", "-x", "x.", "a b", "x\n", "x" * 97, "é"]


@pytest.mark.parametrize("name", NAMES)
def test_unsafe_names(remote: FakeHub, home: Path, name: str) -> None:
    result = cli("models", "pull", "user/m", "--name", name)
    assert (result.rc, result.out) == (2, b"")
    with pytest.raises(NNCodecError, match="cannot be a model's name"):
        hub.pull("user/m", name=name)
    assert remote.calls == []
    assert names(home) == []


@pytest.mark.parametrize("repo", ["user/..", "..", "user/", ""])
def test_unsafe_names_from_repositories(remote: FakeHub, home: Path, repo: str) -> None:
    result = cli("models", "pull", repo)
    assert (result.rc, len(result.errors)) == (1, 1)
    assert "cannot be a model's name" in result.err
    assert remote.calls == []


def test_safe_names() -> None:
    for name in ("x", "_", "nano", "nano-2.1_b", "x" * 96, "a..b"):
        assert hub.check_name(name) == name


@pytest.mark.parametrize("where", ["download", "copy", "check", "rename"])
def test_an_interrupted_pull_leaves_nothing(
    remote: FakeHub,
    home: Path,
    tiny_model: EngineModel,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    older = variant(tiny_model, 9)
    install(older, home / "m")

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    rename = os.rename

    def interrupt_second(source: Path, target: Path) -> None:
        if Path(source).name == "new":
            raise KeyboardInterrupt
        rename(source, target)

    if where == "download":
        remote.error = KeyboardInterrupt()
    elif where == "copy":
        monkeypatch.setattr(os, "fsync", interrupt)
    elif where == "check":
        monkeypatch.setattr(hub, "check", interrupt)
    else:
        monkeypatch.setattr(os, "rename", interrupt_second)
    with pytest.raises(KeyboardInterrupt):
        hub.pull("user/m", force=True)
    assert names(home) == ["m"]
    assert modelstore.find("m").model_id == older.model_id


def test_nobody_finds_a_model_that_is_still_checked(
    remote: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = hub.check

    def check(folder: Path) -> Any:
        seen.append([m.name for m in modelstore.installed() if home in m.folder.parents])
        return real(folder)

    monkeypatch.setattr(hub, "check", check)
    hub.pull("user/m")
    assert seen == [[]]


def test_a_full_disk_is_one_line(
    remote: FakeHub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert_one_error(cli("models", "pull", "user/m"), "user/m", "no space left on device")
    assert names(home) == []


def http(kind: Callable[..., BaseException], status: int) -> BaseException:
    response = SimpleNamespace(status_code=status, headers={}, request=None)
    return kind("what the\nserver said", response=response)


def uncached(cause: BaseException) -> BaseException:
    error = errors.LocalEntryNotFoundError("not on this machine")
    error.__cause__ = cause
    return error


HUB_ERRORS = {
    "no repository": (http(errors.RepositoryNotFoundError, 404), "no repository user/m.*HF_TOKEN"),
    "gated": (http(errors.GatedRepoError, 403), "user/m is gated: ask for access"),
    "no revision": (http(errors.RevisionNotFoundError, 404), "no revision 'v9': give a branch"),
    "entry": (errors.EntryNotFoundError("config.json"), "lacks a file .*config.json"),
    "unauthorised": (http(errors.HfHubHTTPError, 401), r"refuses user/m .*\(401\): log in"),
    "forbidden": (http(errors.HfHubHTTPError, 403), r"refuses user/m .*\(403\): log in"),
    "server": (uncached(http(errors.HfHubHTTPError, 503)), "answers 503 for user/m .*later"),
    "name": (errors.HFValidationError("bad"), "'user/m' is no name of a repository: give USER"),
    "connection": (uncached(ConnectionError("refused")), "get through .* for user/m .*refused"),
    "xet": (RuntimeError("Data processing error"), "get through .*user/m .*Data processing"),
    "offline": (uncached(errors.OfflineModeIsEnabled("no")), "user/m is not in .*cache.*unset it"),
    "disk": (PermissionError(13, "Permission denied", "/cache"), "denied: '/cache'"),
}


@pytest.mark.parametrize(("error", "message"), HUB_ERRORS.values(), ids=HUB_ERRORS)
def test_hub_errors_are_one_line(
    remote: FakeHub, home: Path, error: BaseException, message: str
) -> None:
    remote.error = error
    result = cli("models", "pull", "user/m", "--revision", "v9")
    assert_one_error(result, "user/m", message)
    assert names(home) == []
    install(EngineModel.load(remote.folder), home / "m")
    pushed = cli("models", "push", "m", "user/m")
    assert (pushed.rc, pushed.out, len(pushed.errors)) == (1, b"", 1)
    assert "user/m" in pushed.err


def test_offline_without_a_cause(remote: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    remote.error = errors.LocalEntryNotFoundError("not on this machine")
    with pytest.raises(HubError, match=r"user/m is not in .*cache.*unset it"):
        hub.pull("user/m")


def test_other_errors_are_not_hidden(remote: FakeHub) -> None:
    remote.error = TypeError("a mistake of ours")
    with pytest.raises(TypeError):
        hub.pull("user/m")


@pytest.mark.parametrize("command", [("pull", "user/x"), ("push", "m", "user/m")])
def test_missing_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    want = r"needs huggingface_hub: install it with pip install 'nncodec-lm\[hub\]'"
    assert_one_error(cli("models", *command), command[1], want)


def test_a_message_is_not_read_as_a_level() -> None:
    words = ["models", "push", "m", "user/m", "--message", "-1"]
    assert level_options(words) == words


def test_push(remote: FakeHub, folder: Path, tiny_model: EngineModel) -> None:
    result = cli("models", "push", "m", "user/new", "--private", "--message", "first")
    assert (result.rc, result.err) == (0, "")
    model_id = tiny_model.model_id.hex()
    assert result.out.decode() == f"m: uploaded to https://hub/user/new (id {model_id})\n"
    (created, how), (repo, options) = remote.calls
    assert (created, how) == ("user/new", {"private": True, "exist_ok": True})
    assert (repo, options["folder_path"], options["commit_message"]) == (
        "user/new", folder, "first"
    )  # fmt: skip
    wanted = ["README.md", "config.json", WEIGHTS_FILE, FLOAT_FILE]
    assert sorted(options["allow_patterns"]) == wanted
    assert cli("models", "push", folder, "user/new").rc == 0
    assert remote.calls[2][1]["private"] is None
    assert model_id in remote.calls[3][1]["commit_message"]


@damaged
def test_push_verifies_first(
    remote: FakeHub, folder: Path, tiny_model: EngineModel, damage: Damage, message: str
) -> None:
    damage(tiny_model, folder)
    assert_one_error(cli("models", "push", "m", "user/m"), "m", message)
    with pytest.raises(InvalidModelError):
        hub.push(folder, "user/m")
    assert remote.calls == []


def test_there_and_back_over_http(tmp_path: Path, folder: Path, tiny_model: EngineModel) -> None:
    """The real huggingface_hub, its cache, and a server that speaks the hub's protocol."""
    home = tmp_path / "other home"
    with hub_server.serve() as server:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HF_")},
            "HF_ENDPOINT": server.address,
            "HF_HOME": str(tmp_path / "cache"),
            "NNCODEC_HOME": str(home),
            "no_proxy": "127.0.0.1",
        }

        def models(*args: str | Path, **more: str) -> tuple[int, str, str]:
            words = ["models", *map(str, args)]
            result = run_python(CLI, *words, env={**environment, **more})
            return result.returncode, result.stdout.decode(), python_fails(result)

        def refused(message: str, *args: str | Path, **more: str) -> None:
            rc, out, err = models(*args, **more)
            assert (rc, out) == (1, ""), err
            assert len(err.splitlines()) == 2, err  # the exit code is its first line
            assert message in err
            assert not home.exists() or names(home) == []

        refused("without a token", "push", folder, "user/m")
        rc, out, err = models("push", folder, "user/m", HF_TOKEN=hub_server.TOKEN)
        assert rc == 0, err
        assert tiny_model.model_id.hex() in out
        assert server.files == {
            name: (folder / name).read_bytes()
            for name in ("README.md", "config.json", WEIGHTS_FILE, FLOAT_FILE)
        }

        refused("no repository user/none", "pull", "user/none")
        refused("no revision 'v9'", "pull", "user/m", "--revision", "v9")
        refused("HF_HUB_OFFLINE", "pull", "user/m", HF_HUB_OFFLINE="1")
        server.status = 500
        refused("answers 500 for user/m", "pull", "user/m")
        server.status = 0
        server.cut = WEIGHTS_FILE
        refused("user/m", "pull", "user/m")

        server.cut = ""
        rc, out, err = models("pull", "user/m", "--id", tiny_model.model_id.hex())
        assert rc == 0, err
        assert names(home) == ["m"]
        assert names(home / "m") == ["README.md", "config.json", WEIGHTS_FILE, "origin.json"]
        assert EngineModel.load(home / "m").model_id == tiny_model.model_id
        assert not any(FLOAT_FILE in line for line in server.requests if "resolve" in line)

    # The server is gone: the cache is enough.
    rc, _, err = models("pull", "user/m", "--name", "again", HF_HUB_OFFLINE="1")
    assert rc == 0, err
    assert names(home) == ["again", "m"]
