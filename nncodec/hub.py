"""Models from and to the Hugging Face hub. Needs the hub extra; nothing from there is believed.

What is downloaded are four files by name, none of which holds code. The integer weights are
loaded with all checks and their id is computed before the folder gets its place.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from nncodec import modelstore
from nncodec.causal.vocabulary import TOKENIZER_FILE
from nncodec.config import CONFIG_FILE, FLOAT_FILE
from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.errors import HubError, InvalidModelError, NNCodecError
from nncodec.files import write_atomically
from nncodec.modelcard import CARD_FILE
from nncodec.modelcheck import Report, check
from nncodec.modelstore import AnyModel

ORIGIN_FILE = "origin.json"  # where pull got a model from
# The last only if it is asked for.
FILES = (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE, CARD_FILE, FLOAT_FILE)
OPTIONAL = (CARD_FILE, TOKENIZER_FILE)  # a model of exact mode has a tokenizer
LOG_IN = "log in with hf auth login, or set HF_TOKEN"


@dataclass(frozen=True)
class Pulled:
    """An installed model; ``fresh`` if it was put there now."""

    folder: Path
    model: AnyModel
    fresh: bool


def check_name(name: str) -> str:
    """``name`` itself. Raises NNCodecError if it cannot be the name of one folder everywhere."""
    if len(name) > 96 or not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?", name):
        raise NNCodecError(
            f"{name!r} cannot be a model's name: use letters, digits, '-', '_' and '.' within, "
            "96 at most"
        )
    return name


def pull(
    repo: str,
    revision: str | None = None,
    name: str | None = None,
    force: bool = False,
    floats: bool = False,
    model_id: bytes | None = None,
) -> Pulled:
    """Install ``repo`` (USER/NAME) into ``$NNCODEC_HOME`` as ``name``, by default its own.

    A model that was pulled from there under that name is left as it is, without a look at the
    network, unless ``force``; so is one of the id ``model_id``, wherever it is from. ``floats``
    fetches the float checkpoint too. Any id but ``model_id`` is refused. Raises HubError,
    InvalidModelError, or NNCodecError for a name that is not free.
    """
    name = check_name(repo.rsplit("/", 1)[-1] if name is None else name)
    home = modelstore.search_path()[-1]
    target = home / name
    old = next((m.folder for m in modelstore.installed() if m.name == name), None)
    if old and not force:
        model = kept(old, model_id)
        if floats and not (old / FLOAT_FILE).is_file():
            raise NNCodecError(
                f"{name} is installed without its float weights: give another --name, or --force"
            )
        if model_id is None and origin_of(old) != origin(repo, revision):
            raise NNCodecError(
                f"{old} is another model, for all that is known: give another --name, --force, or "
                f"--id {model.model_id.hex()} if it is the one you mean"
            )
        return Pulled(old, model, False)
    if old and old.resolve() != target.resolve():
        raise NNCodecError(f"{old} would hide a model in {target}: give another --name")
    if not old and os.path.lexists(target):
        raise NNCodecError(f"{target} exists and is no model: remove it or give another --name")
    wanted = FILES if floats else FILES[:-1]
    snapshot = download(repo, revision, wanted)
    for file in wanted:
        if file not in OPTIONAL and not (snapshot / file).is_file():
            why = "pull without --float" if file == FLOAT_FILE else "it is no nncodec model"
            raise HubError(f"{repo} has no {file}: {why}")
    with staging(home) as temporary:
        staged = temporary / "new"
        copy_files(snapshot, staged, wanted)
        model = usable(check(staged))
        check_id(model, model_id)
        write_atomically(staged / ORIGIN_FILE, json.dumps(origin(repo, revision)).encode())
        put(staged, target, aside=temporary / "old")
    return Pulled(target, model, True)


def origin(repo: str, revision: str | None) -> dict[str, str | None]:
    return {"repository": repo, "revision": revision}


def origin_of(folder: Path) -> object:
    """What ``pull`` wrote about where a model came from; None if nothing is known."""
    try:
        return json.loads((folder / ORIGIN_FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def kept(folder: Path, model_id: bytes | None) -> AnyModel:
    """The model that is installed already, if it is one and the one that is asked for."""
    try:
        model = modelstore.load(folder)
        check_id(model, model_id)
    except InvalidModelError as error:
        raise InvalidModelError(
            f"installed already, but {error}: replace it with --force or give another --name"
        ) from error
    return model


def check_id(model: AnyModel, model_id: bytes | None) -> None:
    """Raises InvalidModelError if a certain id is asked for and the model has another."""
    if model_id is not None and model.model_id != model_id:
        raise InvalidModelError(
            f"the model's id is {model.model_id.hex()}, not {model_id.hex()} as asked for"
        )


def usable(report: Report) -> AnyModel:
    """The model, or an InvalidModelError that does not name the temporary folder it is in."""
    try:
        return report.usable()
    except InvalidModelError as error:
        why = str(error).replace(f"{report.folder}{os.sep}", "").replace(f"{report.folder}: ", "")
        raise InvalidModelError(f"not installed: {why}") from error


def push(
    folder: Path, repo: str, private: bool = False, message: str | None = None
) -> tuple[AnyModel, str]:
    """Create ``repo`` if there is none and upload the model's files; the model and its address.

    Raises InvalidModelError before anything is sent if the model is not what it is said to be.
    """
    model = check(folder).usable()
    hub = import_hub()
    with hub_errors(repo, None):
        # None: a new repository gets what its owner's settings say.
        address = hub.create_repo(repo, private=private or None, exist_ok=True)
        hub.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message=message or f"nncodec model {model.model_id.hex()}",
            allow_patterns=list(FILES),
        )
    return model, str(address)


def download(repo: str, revision: str | None, files: tuple[str, ...]) -> Path:
    """A folder of the hub's cache with those of ``files`` that the repository has, perhaps more."""
    hub = import_hub()
    with hub_errors(repo, revision):
        return Path(hub.snapshot_download(repo, revision=revision, allow_patterns=list(files)))


@contextmanager
def staging(home: Path) -> Iterator[Path]:
    """A private folder in ``home``, removed afterwards. No model in its folders is found there."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(".part", ".nncodec-", home) as temporary:
        yield Path(temporary)


def copy_files(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Copy what is there, through the cache's links, and have it written before it is renamed."""
    target.mkdir()
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
            with (target / name).open("r+b") as file:
                os.fsync(file.fileno())


def put(staged: Path, target: Path, aside: Path) -> None:
    """Rename into place. An older folder goes ``aside`` first, and back if that fails."""
    try:
        if os.path.lexists(target):
            os.rename(target, aside)
        os.rename(staged, target)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(target):
            os.rename(aside, target)
        raise


def import_hub() -> ModuleType:
    """huggingface_hub, imported when it is needed. Raises NNCodecError if it is not installed."""
    try:
        import huggingface_hub
    except ModuleNotFoundError as error:
        raise NNCodecError(
            f"needs {error.name}: install it with pip install 'nncodec-lm[hub]'"
        ) from error
    from huggingface_hub.utils import logging as hub_logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    hub_logging.set_verbosity(logging.ERROR)  # its warnings are steps on the way to what it raises
    if not sys.stderr.isatty():
        disable_progress_bars()
    return huggingface_hub


@contextmanager
def hub_errors(repo: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub and the libraries below it raise into a HubError of one line."""
    from huggingface_hub import errors

    # The HTTP library's own base class changed from release to release; RuntimeError is hf_xet's.
    http: tuple[type, ...] = errors.HfHubHTTPError.__bases__
    own = (OSError, ValueError, RuntimeError, errors.EntryNotFoundError)
    failures: tuple[type[BaseException], ...] = (*own, *http)
    try:
        yield
    except failures as error:
        raise HubError(explain(error, repo, revision)) from error


def explain(error: BaseException, repo: str, revision: str | None) -> str:
    """What happened to ``repo`` and what to do about it."""
    from huggingface_hub import constants, errors

    where = constants.ENDPOINT
    uncached = isinstance(error, errors.LocalEntryNotFoundError)
    while isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # not in the cache either: what kept us from the hub?
    if isinstance(error, errors.OfflineModeIsEnabled) or (uncached and constants.HF_HUB_OFFLINE):
        cache = f"{repo} is not in the hub's cache and " if uncached else ""
        return f"{cache}HF_HUB_OFFLINE forbids the network: unset it to reach {repo}"
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is gated: ask for access at {where}/{repo}, then {LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{where} has no repository {repo}: check the name; if it is private, {LOG_IN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}: give a branch, tag or commit of it"
    if isinstance(error, errors.HFValidationError):
        return f"{repo!r} is no name of a repository: give USER/NAME"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{repo} lacks a file that it lists ({first_line(error)}): try again"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status in (401, 403):
            return f"{where} refuses {repo} without a token that allows it ({status}): {LOG_IN}"
        return f"{where} answers {status} for {repo} ({first_line(error)}): try again later"
    if isinstance(error, OSError) and error.filename:
        return f"{repo}: {error}"  # of this machine: a full disk, a cache that cannot be written
    return f"cannot get through to {where} for {repo} ({first_line(error)}): check the connection"


def first_line(error: BaseException) -> str:
    """What an error says, as far as it fits into a line, behind its type."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:100]}".rstrip(".: ")
