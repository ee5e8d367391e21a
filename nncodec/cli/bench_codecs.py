"""``nncodec bench FILES``: codecs on files, shown as they are measured, then their totals."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from nncodec.bench.codecs import AbsentError, Codec, Probe
from nncodec.bench.external import COMMAND
from nncodec.bench.measure import Effort
from nncodec.bench.peers import known_peers
from nncodec.bench.plot import files_beside
from nncodec.bench.results import (
    ABSENT,
    FAILED,
    QUOTED,
    SIZED,
    Row,
    Table,
    key_of,
    read_results,
    write_results,
)
from nncodec.bench.run import Bench, Input, open_input, read_quotes
from nncodec.bench.specs import DEFAULTS, Settings, label, parse_specs, split_values
from nncodec.bench.summary import by_machine, summarise
from nncodec.cli import files
from nncodec.cli.bench_tables import RowTable, show_totals, typed
from nncodec.cli.common import attempt, say
from nncodec.cli.progress import progress_bar
from nncodec.environment import environment
from nncodec.errors import BenchError
from nncodec.pages import visible

SCHEMA = 1


@dataclass(frozen=True)
class Request:
    """The options as they were given."""

    inputs: Sequence[str]
    specs: Sequence[str]
    online: bool
    table: str | None
    json_file: str | None
    page: str | None
    effort: Effort
    again: bool
    peers: str | None
    quoted: str | None
    threads: int | None

    @property
    def outputs(self) -> list[str]:
        """All files that will be written: without inputs not the table, it is only read."""
        own = [self.table_file if self.inputs else None, self.page, self.json_file]
        if self.page:
            own += map(str, files_beside(Path(self.page)))
        return [name for name in own if name and name != files.STDIO]

    @property
    def table_file(self) -> str | None:
        """A page's table lies beside it, unless it is said where."""
        return self.table or (str(Path(self.page).with_suffix(".csv")) if self.page else None)

    def spec_values(self) -> list[str]:
        chosen = list(self.specs) or ([] if self.online else [",".join(DEFAULTS)])
        return [*chosen, *(["online"] if self.online else [])]

    def command(self, table: Table | None = None) -> str:
        """What to type to measure the same; without files of ours, what a table has on FILES."""
        values = self.spec_values() if self.inputs else spec_values(table or {})
        inputs = self.inputs or ["FILES"]
        plain, effort = Effort(), self.effort
        options: list[tuple[str, object, object]] = [
            ("--csv", self.table, None),
            ("--json", self.json_file, None),
            ("--html", self.page, None),
            ("--runs", effort.runs, plain.runs),
            ("--warm-up", effort.warm_up, plain.warm_up),
            ("--most-seconds", effort.most_seconds, plain.most_seconds),
            ("--timeout", effort.timeout, plain.timeout),
            ("--peers", self.peers, None),
            ("--quoted", self.quoted, None),
            ("--threads", self.threads, None),
        ]
        words = [word for value in values for word in ("--codecs", value)]
        for option, value, default in options:
            if value != default:
                words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
        dashes = ["--"] if any(name.startswith("-") for name in inputs) else []
        return shlex.join(["nncodec", "bench", *words, *dashes, *inputs])


def spec_values(table: Table) -> list[str]:
    """The values of --codecs that name the codecs of a table, of which some ran somewhere."""
    specs = dict.fromkeys(row["codec"] for row in table.values() if row["status"] != QUOTED)
    plain = [spec for spec in specs if not spec.startswith(COMMAND)]
    return [",".join(plain)] * bool(plain) + [spec for spec in specs if spec.startswith(COMMAND)]


def run(request: Request) -> None:
    """Raises NNCodecError before anything is measured; Exit with 1 if a file or a codec failed."""
    check(request)
    settings = Settings(
        request.threads, known_peers(Path(request.peers) if request.peers else None)
    )
    path = Path(request.table_file) if request.table_file else None
    table = checked(path) if path else {}
    if not request.inputs:
        render(request, path, table)
        return
    codecs = parse(request.spec_values(), settings)
    quotes = read_quotes(Path(request.quoted), settings) if request.quoted else ()

    def save(row: Row) -> None:
        if path:  # with what another process may have added
            write_results(path, (read_results(path) | {key_of(row): row}).values())

    bench = Bench(codecs, request.effort, table, save, quotes, request.again)
    inputs = list(open_inputs(request.inputs))
    if not any(inputs):
        raise typer.Exit(1)
    report_absent(bench)
    rows = measure_all(bench, [file for file in inputs if file], request.json_file != files.STDIO)
    if request.json_file:
        files.write_json(request.json_file, document(request, bench, rows))
    if path and request.page:
        render(request, path, read_results(path))
    if None in inputs or any(row["status"] == FAILED for row in rows):
        raise typer.Exit(1)


def parse(values: Sequence[str], settings: Settings) -> list[Codec]:
    """A spec that means nothing is wrong usage."""
    try:
        return parse_specs(split_values(values), settings)
    except BenchError as error:
        raise typer.BadParameter(visible(str(error))) from error


def check(request: Request) -> None:
    table = None if request.inputs else request.table_file
    read = [name for name in (request.peers, request.quoted, table) if name]
    if table:
        files.check_regular(table)
    files.check_outputs(request.outputs, [*request.inputs, *read])
    if request.page:
        from nncodec.bench.report import check_extras

        check_extras()


def checked(path: Path) -> Table:
    """The table that is there. Raises BenchError if what should be numbers are none."""
    table = read_results(path)
    for row in table.values():
        check_row(row, path)
    return table


def check_row(row: Row, path: Path) -> None:
    try:
        typed(row)
        if row["status"] in SIZED:
            int(row["file_bytes"]), int(row["compressed_bytes"])
    except ValueError as error:
        where = f"{path}: the row of {row['codec']} on {row['file']}"
        raise BenchError(f"{where} cannot be used: {error}") from error


def open_inputs(names: Sequence[str]) -> Iterator[Input | None]:
    """Every file, once; None in place of one that cannot be read, which is said on stderr."""
    for top in names:
        for name in files.files_below(top):
            found: list[Input] = []

            def work(path: str, top: str = top, found: list[Input] = found) -> None:
                if path == files.STDIO:
                    raise files.FileError("codecs are measured on files, not on a pipe")
                if os.path.isdir(path):
                    raise files.FileError("is a directory without files that can be read")
                files.check_regular(path)
                with files.open_input(path):
                    found.append(open_input(top, path))

            yield found[0] if attempt(name, work) else None


def report_absent(bench: Bench) -> None:
    for spec, found in bench.probes.items():
        if not isinstance(found, Probe):
            say(label(spec), "absent: " * isinstance(found, AbsentError) + str(found))


def measure_all(bench: Bench, inputs: Sequence[Input], show: bool) -> list[Row]:
    """The rows of all inputs, shown one by one, and after them the totals."""
    rows: dict[tuple[str, ...], Row] = {}
    fresh = 0
    table = RowTable([codec.spec for codec in bench.codecs]) if show else None
    if table:
        table.head()
    total = len(bench.codecs) * sum(file.size for file in inputs)
    with progress_bar("bench", total, quiet=False) as progress:
        for file in inputs:
            for row, is_new in bench.rows(file):
                rows[key_of(row)] = row
                fresh += is_new
                if table:
                    table.add(row)
                if row["status"] == FAILED:
                    say(row["file"], label(row["codec"]), row["detail"])
                if row["codec"] in bench.probes:
                    progress(file.size)
    if table and rows:
        print()
        show_totals(summarise(rows.values()))
    if fresh < len(rows):
        print(f"{fresh} rows are new, {len(rows) - fresh} were there", file=sys.stderr)
    return list(rows.values())


def document(request: Request, bench: Bench, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": request.command(),
        "environment": environment(),
        "codecs": [describe(codec, bench) for codec in bench.codecs],
        "rows": [typed(row) for row in rows],
        "totals": [asdict(total) for total in summarise(rows)],
    }


def describe(codec: Codec, bench: Bench) -> dict[str, Any]:
    found = bench.probes[codec.spec]
    about: dict[str, Any] = {"codec": codec.spec, "threads": codec.threads}
    return about | (asdict(found) if isinstance(found, Probe) else {ABSENT: str(found)})


def render(request: Request, path: Path | None, table: Table) -> None:
    """The page of all rows of a table."""
    assert path
    assert request.page
    if not table:
        raise BenchError(f"{path} has no rows to show")
    from nncodec.bench.report import write_report

    if not request.inputs:
        for rows in by_machine(table.values()).values():
            print(visible(rows[0]["machine"]))
            show_totals(summarise(rows))
    with files.writing(f"{request.page} or what is beside it"):
        write_report(Path(request.page), list(table.values()), request.command(table))
