"""``nnz`` and ``nnzcat``: gzip's options, messages and exit codes over what ``nncodec`` does.

argparse, because it knows gzip's clusters (``-9kf``) and levels as they are, and starts sooner than
typer. What differs from gzip: a file is removed only after its archive was synced and decoded and
compared with it; no name or time is stored, so -n and -N change nothing; a damaged archive does not
keep those after it from their turn; and ``-dcf`` does not pass on what is no archive.
"""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nncodec.cli import signals
from nncodec.cli.lines import reason, say
from nncodec.remote.names import is_remote

if TYPE_CHECKING:
    from nncodec.cli import commands
    from nncodec.cli.commands import Sizes

OK, ERROR, WARNING = 0, 1, 2  # gzip's; a warning is of a file that was left as it is
HEADER = f"{'compressed':>19} {'uncompressed':>19}  ratio uncompressed_name"
EPILOG = """\
With no FILE, or when FILE is -, read standard input. Exit codes, as gzip's: 0 done; 1 an error, or
wrong usage; 2 a warning: a file was left as it is (a directory, an unknown suffix, an output that
exists). A FILE is removed only once its output is synced, and its archive was decoded and compared.
NNCODEC_MODEL and NNCODEC_THREADS are as for nncodec compress."""


class Warned(Exception):
    """A file is left as it is, and this says why; nothing at all if it is empty."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """gzip's exit code is 1 here."""
        self.exit(
            ERROR, f"{self.prog}: {message}\nTry `{self.prog} --help' for more information.\n"
        )


def parser(program: str) -> Parser:
    made = Parser(
        prog=program,
        usage="%(prog)s [OPTION]... [FILE]...",
        description="Compress or uncompress FILEs (by default, compress FILES in-place).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=True,
    )

    def flag(*names: str, text: str) -> None:
        made.add_argument(*names, action="store_true", help=text)

    flag("-c", "--stdout", "--to-stdout", text="write on standard output, keep original files")
    flag("-d", "--decompress", "--uncompress", text="decompress")
    flag("-f", "--force", text="overwrite; follow links; write to a terminal")
    made.add_argument("-h", "--help", action="help", help="give this help")
    flag("-k", "--keep", text="keep (don't delete) input files")
    flag("-l", "--list", text="list compressed file contents")
    flag("-L", "--license", text="display software license")
    flag("-n", "--no-name", text="accepted: no name is stored")
    flag("-N", "--name", text="accepted: no name is stored")
    flag("-q", "--quiet", "--silent", text="suppress all warnings")
    flag("-r", "--recursive", text="operate recursively on directories")
    made.add_argument("-S", "--suffix", metavar="SUF", default=".nnc", help="instead of .nnc")
    flag("--synchronous", text="accepted: output is always synced")
    flag("-t", "--test", text="test compressed file integrity")
    flag("-v", "--verbose", text="verbose mode")
    flag("-V", "--version", text="display version number")
    for level in range(1, 10):
        names = [f"-{level}", *{1: ["--fast"], 9: ["--best"]}.get(level, [])]
        text = {1: "compress faster", 9: "compress better"}.get(level, argparse.SUPPRESS)
        made.add_argument(*names, dest="level", action="store_const", const=level, help=text)
    made.add_argument("files", metavar="FILE", nargs="*", help=argparse.SUPPRESS)
    return made


def main() -> None:
    """Entry point of ``nnz``."""
    signals.run("nnz", [], lambda: run("nnz", sys.argv[1:]))


def cat() -> None:
    """Entry point of ``nnzcat``: ``nnz -dc``."""
    signals.run("nnzcat", [], lambda: run("nnzcat", ["-dc", *sys.argv[1:]]))


def run(program: str, arguments: Sequence[str]) -> NoReturn:
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser(program).parse_intermixed_args(arguments[:end])
    options.files += arguments[end + 1 :]
    if options.version or options.license:
        import nncodec

        print(f"{program} (nncodec) {nncodec.__version__}")
        if options.license:
            print("Code and weights: Apache License 2.0. See the file LICENSE.")
        sys.exit(OK)
    if not options.suffix or "/" in options.suffix:
        say(f"invalid suffix '{options.suffix}'")
        sys.exit(ERROR)
    try:
        work = Work(options)
    except ValueError:
        say("NNCODEC_THREADS is no number")
        sys.exit(ERROR)
    for name in options.files or ["-"]:
        work.attempt(name)
    work.finish()
    sys.exit(work.code)


class Work:
    """Each file in turn, and the exit code that comes of it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.code = options, OK
        self.listed: list[Sizes] = []
        self.model = os.environ.get("NNCODEC_MODEL") or None
        self.threads = int(os.environ.get("NNCODEC_THREADS") or 0) or None
        self.reads = options.decompress or options.test or options.list

    def attempt(self, name: str, below: bool = False) -> None:
        """A failure is one line; the files after it have their turn."""
        from nncodec.errors import NNCodecError

        try:
            self.file(self.found(name), below)
        except BrokenPipeError:
            raise
        except Warned as warning:
            if str(warning) and not self.options.quiet:
                say(name, str(warning))
            if str(warning) and self.code == OK:
                self.code = WARNING
        except (NNCodecError, OSError, MemoryError) as error:
            say("stdin" if name == "-" else name, reason(error, name))
            self.code = ERROR

    def found(self, name: str) -> str:
        """``name``, or for an archive that is not there the one with the suffix."""
        longer: str = name + self.options.suffix
        if self.reads and name != "-" and not os.path.lexists(name) and os.path.lexists(longer):
            return longer
        return name

    def file(self, name: str, below: bool) -> None:
        options = self.options
        if name != "-" and os.path.isdir(name):
            if not options.recursive:
                raise Warned("is a directory -- ignored")
            for entry in sorted(os.listdir(name)):
                path = os.path.join(name, entry)
                if not os.path.islink(path):
                    self.attempt(path, below=True)
            return
        if options.list:
            self.list(name)
        elif options.test:
            self.test(name)
        elif options.stdout or name == "-":
            self.to_stdout(name)
        else:
            self.replace(name, below)

    def to_stdout(self, name: str) -> None:
        from nncodec.cli import commands, files

        if not self.options.decompress:
            files.check_terminal(self.options.force)
        commands.transform(name, None, commands.file_size(name), True, True, self.work())

    def work(self) -> commands.Work:
        from nncodec.cli import commands

        if self.options.decompress:
            return commands.decoder(None, self.threads)
        return commands.encoder(self.options.level or 6, self.model, self.threads)

    def replace(self, name: str, below: bool) -> None:
        """gzip's way: the output takes the place of the file."""
        from nncodec.cli import commands, files

        options = self.options
        if is_remote(name):
            raise files.FileError("nnz replaces local files alone: use nncodec, or -c")
        target = Path(self.target(name, below))
        self.check_kind(name)
        asks = sys.stdin.isatty() and sys.stderr.isatty()
        if os.path.lexists(target) and not options.force and not asks:
            say(f"{target} already exists; not overwritten")  # said by gzip -q, too
            self.code = self.code or WARNING
            return
        original = files.Original(name)
        sizes = commands.transform(name, target, None, options.force, True, self.work())
        if not options.keep:
            if options.decompress:
                original.remove()
            else:
                commands.remove_verified(original, target, self.model, self.threads, True)
        if options.verbose:
            done = "created" if options.keep else "replaced with"
            packed, size = sizes if options.decompress else sizes[::-1]
            print(f"{name}:\t{ratio(packed, size)} -- {done} {target}", file=sys.stderr)

    def target(self, name: str, below: bool) -> str:
        suffix: str = self.options.suffix
        has = name.endswith(suffix) and Path(name).name != suffix
        if self.options.decompress:
            if not has:
                raise Warned("" if below else "unknown suffix -- ignored")
            return name[: -len(suffix)]
        if has and not self.options.force:
            if not below and not self.options.quiet:  # no warning of gzip's in the exit code
                say(name, f"already has {suffix} suffix -- unchanged")
            raise Warned
        return name + suffix

    def check_kind(self, name: str) -> None:
        """What is replaced is a file with one name."""
        status = os.lstat(name)
        if self.options.force or self.options.keep:
            status = os.stat(name)
        if stat.S_ISLNK(status.st_mode):
            raise Warned("is a symbolic link -- ignored")
        if not stat.S_ISREG(status.st_mode):
            raise Warned("is not a directory or a regular file - ignored")
        if status.st_nlink > 1 and not self.options.force and not self.options.keep:
            raise Warned(f"has {status.st_nlink - 1} other links -- unchanged")

    def test(self, name: str) -> None:
        from nncodec.cli import commands

        commands.verify(name, None, self.threads, True)
        if self.options.verbose:
            print(f"{name}:\t OK", file=sys.stderr)

    def list(self, name: str) -> None:
        from nncodec.api import read_info
        from nncodec.cli import files

        with files.open_input(name, ahead=False) as source:
            if not source.seekable():
                raise files.FileError("listing needs a file, not a pipe")
            info = read_info(source)
        if not self.listed and not self.options.quiet:
            print(HEADER)
        row = info.compressed_size, info.uncompressed_size
        self.listed.append(row)
        has = name.endswith(self.options.suffix)
        shown = name[: -len(self.options.suffix)] if has else "stdout" if name == "-" else name
        show(*row, shown)

    def finish(self) -> None:
        if len(self.listed) > 1 and not self.options.quiet:
            packed, size = (sum(column) for column in zip(*self.listed, strict=True))
            show(packed, size, "(totals)")


def show(packed: int, size: int, name: str) -> None:
    print(f"{packed:19} {size:19} {ratio(packed, size)} {name}")


def ratio(packed: int, size: int) -> str:
    """By how much it is smaller, as gzip writes it."""
    return f"{100 * (size - packed) / size if size else 0:5.1f}%"
