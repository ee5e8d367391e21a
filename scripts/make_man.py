"""Write docs/man/*.1, a manual page for every console script, from its own help.

usage: python scripts/make_man.py [--check]

Commands and options are those that typer parses, or the argparse parser that a script's module
makes in ``parser(name)``; only what no option says (exit codes, variables, examples) stands here.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import nncodec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "man"
UPDATED = "2026-11-28"  # of the texts below, which the rest changes with
EXIT_STATUS = (
    ("0", "Done."),
    ("1", "An error, of which a line on standard error names the file; no partial output is left."),
    ("2", "Wrong usage."),
    ("130", "Interrupted."),
)
ENVIRONMENT = (
    ("NNCODEC_MODEL", "The model to compress with, as for -m."),
    ("NNCODEC_THREADS", "The number of threads, as for -T."),
    ("NNCODEC_HOME", "A folder of models; ~/.nncodec/models if it is not set."),
    ("NNCODEC_ISA", "Forces one of the instruction sets that --version lists."),
)
EXAMPLES = (
    ("nncodec compress notes.txt", "Makes notes.txt.nnc; notes.txt is kept."),
    ("nncodec decompress notes.txt.nnc", "Gives notes.txt back."),
    ("tar -I 'nncodec compress' -cf docs.tar.nnc docs", "Packs a folder."),
    ("nncodec info --json notes.txt.nnc", "Shows what an archive holds, without decoding it."),
)


def escape(text: str) -> str:
    """Text as roff prints it: a dash that can be copied, no line that is taken for a request."""
    text = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(?=[.'])", r"\\&", text)


def paragraph(text: str) -> Iterator[str]:
    lines = textwrap.wrap(" ".join(text.split()), 72, break_on_hyphens=False)
    return map(escape, lines or ["\\&"])


def listed(rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    for term, text in rows:
        yield from (".TP", f".B {escape(term)}", *paragraph(text))


def parameters(command: Any, context: Any) -> Iterator[tuple[str, str]]:
    """Arguments that have a help, then options: how each is given, and its help."""
    shown = command.params if context.parent else command.get_params(context)  # --help once
    records = (parameter.get_help_record(context) for parameter in shown)
    yield from (record for record in records if record is not None)


def usage(command: Any, context: Any) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def walk(command: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Every command below this one that is not hidden, groups before what they hold."""
    for name, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            below = child.make_context(name, [], parent=context, resilient_parsing=True)
            yield child, below
            yield from walk(child, below)


def typer_page(name: str, app: typer.Typer) -> Iterator[str]:
    command: Any = typer.main.get_command(app)
    context = command.make_context(name, [], resilient_parsing=True)
    what = paragraph(f"{name} - {command.help.rstrip('.')}")
    yield from (".SH NAME", *what)
    yield from (".SH SYNOPSIS", f".B {escape(usage(command, context))}")
    options = list(parameters(command, context))
    yield from (".SH OPTIONS", *listed(iter(options)))
    commands = list(walk(command, context))
    if commands:
        yield ".SH COMMANDS"
    for child, below in commands:
        yield from (f".SS {escape(usage(child, below))}", *paragraph(child.help or ""))
        yield from listed(parameters(child, below))
    yield from (".SH EXIT STATUS", *listed(iter(EXIT_STATUS)))
    yield from (".SH ENVIRONMENT", *listed(iter(ENVIRONMENT)))
    if name == "nncodec":
        yield from (".SH EXAMPLES", *listed(iter(EXAMPLES)))


def argparse_page(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """For commands of gzip's shape; what their exit codes mean, their epilog says."""
    what = (parser.description or name).partition(" (")[0].rstrip(".")
    yield from (".SH NAME", *paragraph(f"{name} - {what}"))
    synopsis = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield from (".SH SYNOPSIS", f".B {escape(synopsis)}")
    yield from (".SH DESCRIPTION", *paragraph(parser.description or ""))
    yield from (".SH OPTIONS", *listed(actions(parser)))
    if parser.epilog:
        yield from (".SH NOTES", *paragraph(parser.epilog))


def actions(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if action.help is not None and action.help != argparse.SUPPRESS:
            value = f" {action.metavar}" if action.metavar and action.option_strings else ""
            term = ", ".join(action.option_strings) or str(action.metavar)
            yield term + value, action.help


def scripts() -> dict[str, str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["scripts"]


def entry(name: str) -> tuple[str, str]:
    module, _, function = scripts()[name].partition(":")
    return module, function


def app_of(name: str) -> typer.Typer | None:
    """The typer app that a script runs: ``app`` of its module or of the module ``app`` below it."""
    module = entry(name)[0]
    for place in (module, f"{module}.app"):
        try:
            found = getattr(importlib.import_module(place), "app", None)
        except ModuleNotFoundError:
            continue
        if isinstance(found, typer.Typer):
            return found
    return None


def page(name: str) -> str:
    others = [other for other in scripts() if other != name]
    if app := app_of(name):
        body = typer_page(name, app)
    else:
        body = argparse_page(name, importlib.import_module(entry(name)[0]).parser(name))
    head = f'.TH {name.upper()} 1 "{UPDATED}" "nncodec {nncodec.__version__}" "User Commands"'
    see = ", ".join(f".BR {other} (1)" for other in others)
    tail = [".SH SEE ALSO", *see.split(", ")] if others else []
    made = '.\\" Made by scripts/make_man.py from the help of the commands.'
    return "\n".join([made, head, *body, *tail]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name in scripts():
        path, text = FOLDER / f"{name}.1", page(name)
        if not check:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"docs/man: {', '.join(stale)} out of date: run python scripts/make_man.py")


if __name__ == "__main__":
    main()
