"""``nncodec models``: what is installed, whether it is what it says, from the hub and to it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from nncodec.cli.common import AsJson, each, show
from nncodec.errors import NNCodecError

ID_DIGITS = 32

app = typer.Typer(invoke_without_command=True)

Name = Annotated[str, typer.Argument(metavar="NAME|FOLDER", help="A model's name or folder.")]
Repo = Annotated[str, typer.Argument(help="The repository on the hub: USER/NAME.")]

COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "name": lambda r: r["name"],
    "parameters": lambda r: f"{r['parameters']}",
    "bytes": lambda r: f"{r['bytes']}",
    "version": lambda r: shown(r["numeric_version"]),
    "id": lambda r: r["id"],
    "folder": lambda r: r["folder"],
}


@app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List, check, convert, fetch and publish models; alone it lists those installed."""
    if context.invoked_subcommand is None:
        list_models(as_json)
    elif as_json:
        raise typer.BadParameter(f"--json goes behind {context.invoked_subcommand}")


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the installed models."""
    from nncodec import modelstore

    rows: list[dict[str, Any]] = []
    folders = [str(model.folder) for model in modelstore.installed()]
    show(folders, lambda folder: rows.append(summary(Path(folder))), rows, COLUMNS, as_json)


@app.command("show")
def show_model(name: Name, as_json: AsJson = False) -> None:
    """Show a model's shape, id and licence, and what its card and the manifest say."""

    def work(name: str) -> None:
        from nncodec import modelstore

        details = describe(modelstore.locate(name))
        if as_json:
            print(json.dumps(details, indent=2))
        else:
            print_details(details)

    each([name], work)


@app.command()
def verify(
    names: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="[NAME|FOLDER]...", help="Models; none: all installed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load models with all checks, compute their ids and compare every record of them."""
    from nncodec import modelstore

    rows: list[dict[str, Any]] = []

    def work(name: str) -> None:
        from nncodec.modelcheck import check

        report = check(modelstore.locate(name))
        rows.append(report.to_dict())
        report.usable()
        if not as_json:
            print(f"{name}: ok ({report.summary()})")

    show(names or [str(m.folder) for m in modelstore.installed()], work, rows, None, as_json)


def safe_name(name: str | None) -> str | None:
    from nncodec.hub import check_name

    try:
        return None if name is None else check_name(name)
    except NNCodecError as error:
        raise typer.BadParameter(str(error)) from error


def id_digits(digits: str | None) -> str | None:
    try:
        if digits is None or len(digits) == ID_DIGITS == 2 * len(bytes.fromhex(digits)):
            return digits
    except ValueError:
        pass
    raise typer.BadParameter(f"an id has {ID_DIGITS} hexadecimal digits")


@app.command()
def pull(
    repo: Repo,
    revision: Annotated[
        Optional[str], typer.Option(help="A branch, tag or commit; default: main.")
    ] = None,
    name: Annotated[
        Optional[str],
        typer.Option(callback=safe_name, help="Install under this name; default: the repo's."),
    ] = None,
    force: Annotated[bool, typer.Option("-f", "--force", help="Replace an installed one.")] = False,
    floats: Annotated[
        bool, typer.Option("--float", help="Fetch the float checkpoint too, for training.")
    ] = False,
    id_: Annotated[
        Optional[str],
        typer.Option("--id", callback=id_digits, help="Refuse a model with any other id."),
    ] = None,
) -> None:
    """Install a model from the Hugging Face hub, once it is verified; needs the hub extra."""

    def work(repo: str) -> None:
        from nncodec import hub

        wanted = bytes.fromhex(id_) if id_ else None
        pulled = hub.pull(repo, revision, name, force, floats, wanted)
        how = "installed" if pulled.fresh else "installed already, --force fetches it again"
        print(f"{repo}: {how}: {pulled.folder} (id {pulled.model.model_id.hex()})")

    each([repo], work)


@app.command()
def push(
    name: Name,
    repo: Repo,
    private: Annotated[bool, typer.Option("--private", help="If it is created.")] = False,
    message: Annotated[Optional[str], typer.Option(help="Of the commit.")] = None,
) -> None:
    """Verify a model and publish it on the Hugging Face hub; needs the hub extra."""

    def work(name: str) -> None:
        from nncodec import hub, modelstore

        model, address = hub.push(modelstore.locate(name), repo, private, message)
        print(f"{name}: uploaded to {address} (id {model.model_id.hex()})")

    each([name], work)


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="HF_DIR", help="A Llama-family model of Hugging Face's.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new model's folder.")],
    calibrate: Annotated[
        Optional[Path],
        typer.Option(help="Text like that to come; default: what the model itself writes."),
    ] = None,
    context: Annotated[
        Optional[int], typer.Option(min=2, help="Positions that it sees; default: at most 1024.")
    ] = None,
) -> None:
    """Make an integer model of it, whose archives decode on any machine; needs the hf extra."""

    def work(name: str) -> None:
        from nncodec.causal.exact.folder import convert_folder

        text = calibrate.read_bytes() if calibrate else None
        model = convert_folder(
            Path(name), output, text, context, lambda note: print(note, file=sys.stderr)
        )
        print(f"{name}: converted to {output} (id {model.model_id.hex()})")

    each([str(source)], work)


def summary(folder: Path) -> dict[str, Any]:
    """A row of the list. ``numeric_version`` is what the file records; the id is computed."""
    from nncodec import modelstore
    from nncodec.engine_weights import read_record

    model = modelstore.load(folder)
    version = read_record(folder).get("numeric_version", "")
    return {
        "name": folder.name,
        "id": model.model_id.hex(),
        "numeric_version": int(version) if version.isdecimal() else None,
        "parameters": model.parameters,
        "bytes": sum(value.nbytes for value in model.tensors.values()),
        "folder": str(folder),
    }


def describe(folder: Path) -> dict[str, Any]:
    """What ``show`` tells. What is not there is None."""
    from nncodec import manifest, modelstore
    from nncodec.hub import FILES
    from nncodec.modelcard import read_card

    row, card, claim = summary(folder), read_card(folder), manifest.claimed(folder)
    sizes = {file: (folder / file).stat().st_size for file in FILES if (folder / file).is_file()}
    return {
        **row,
        "files": sizes,
        "config": asdict(modelstore.load(folder).config),
        "licence": (card and card.licence) or (claim and claim.get("licence")),
        "card": card and card.front_matter,
        "held_out": card and card.held_out,
        "manifest": claim and {"id": claim["id"], "agrees": claim["id"] == row["id"]},
    }


def print_details(details: Mapping[str, Any]) -> None:
    from nncodec.cli.commands import show_row, show_table

    claim, config = details["manifest"], details["config"]
    agrees = {None: "does not name this folder", True: "has this id", False: "has another id"}
    lines = {
        **{key: details[key] for key in ("name", "folder", "id")},
        "numeric version": details["numeric_version"],
        "parameters": details["parameters"],
        "licence": details["licence"],
        "manifest": agrees[claim and claim["agrees"]],
        **{file: f"{size} bytes" for file, size in details["files"].items()},
        **config,
        **{f"card: {key}": value for key, value in (details["card"] or {}).items()},
    }
    width = max(map(len, lines))
    for key, value in lines.items():
        show_row([key, shown(value)], [width, 0])
    if details["held_out"]:
        print("\nheld out, by the card:")
        columns = {c: lambda r, c=c: shown(r.get(c)) for c in details["held_out"][0]}
        show_table(details["held_out"], columns)


def shown(value: object) -> str:
    """A value in a cell. What a stranger wrote gets no control over the terminal."""
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)
