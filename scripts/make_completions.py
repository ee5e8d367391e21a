"""Write docs/completions/, which installs below sys.prefix/share: where bash, zsh and fish look.

usage: python scripts/make_completions.py [--check]

The files are what ``nncodec --show-completion`` prints in each shell: they ask the command itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from make_man import app_of, scripts
from typer._completion_shared import get_completion_script

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "completions"
PLACES = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="fail if a file is out of date")
    check = parser.parse_args().check
    stale = []
    for name in filter(app_of, scripts()):
        variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
        for shell, place in PLACES.items():
            path = FOLDER / place.format(name)
            text = get_completion_script(prog_name=name, complete_var=variable, shell=shell) + "\n"
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
            elif not path.exists() or path.read_text("utf-8") != text:
                stale.append(str(path.relative_to(FOLDER)))
    if stale:
        sys.exit(
            f"docs/completions: {', '.join(stale)} out of date: run "
            "python scripts/make_completions.py"
        )


if __name__ == "__main__":
    main()
