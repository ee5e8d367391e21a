"""HTML pages that are one file each and ask the network for nothing.

A template and its styles and scripts are filled in by one pass, and what was measured goes in as
JSON without ``<``, shown by scripts as text alone: no name and no byte can become part of a page.
``base.css`` and ``base.js`` are what all pages have in common. No template language: there is
nothing in a page but what these few lines put there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources


def fill(package: str, scripts: Iterable[str], parts: Mapping[str, str]) -> bytes:
    """``page.html`` of ``package`` in UTF-8, with ``@STYLE@``, ``@SCRIPT@`` and ``@parts@``."""
    every = {
        "STYLE": part(__name__, "base.css") + part(package, "page.css"),
        "SCRIPT": part(__name__, "base.js") + "".join(part(package, name) for name in scripts),
        **parts,
    }
    # One pass over the template: what is put in is not looked at.
    template = part(package, "page.html")
    return re.sub("@([A-Z]+)@", lambda mark: every[mark[1]], template).encode()


def part(package: str, name: str) -> str:
    return (resources.files(package) / name).read_text(encoding="utf-8")


def script_json(value: object) -> str:
    """JSON that is safe in a script element: no ``<``, and ASCII alone."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")


def visible(text: str) -> str:
    """With escapes for what has no shape of its own: controls, marks of direction, surrogates."""
    return "".join(c if c.isprintable() else escape(c) for c in text)


def escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
