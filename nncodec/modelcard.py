"""What ``nncodec models show`` tells from a model card, the README.md of a model's folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

CARD_FILE = "README.md"
FENCE = "---"

FrontMatter = dict[str, str | list[str]]
TableRow = dict[str, float | str]


@dataclass(frozen=True)
class Card:
    """``front_matter``: its top-level keys; what is nested below one is kept as text.

    ``held_out``: rows of the first table below the words "held-out", by column.
    """

    front_matter: FrontMatter
    held_out: list[TableRow]

    @property
    def licence(self) -> str | None:
        value = self.front_matter.get("license")
        return ", ".join(value) if isinstance(value, list) else value


def read_card(folder: Path) -> Card | None:
    """None if the folder has no card. It is for people: bytes that are no UTF-8 are replaced."""
    path = folder / CARD_FILE
    if not path.is_file():
        return None
    lines = path.read_text("utf-8", errors="replace").splitlines()
    return Card(front_matter(lines), held_out_table(lines))


def front_matter(lines: list[str]) -> FrontMatter:
    """The YAML between the first two fences, as far as model cards use it without nesting."""
    if not lines or lines[0].strip() != FENCE or FENCE not in map(str.strip, lines[1:]):
        return {}
    blocks: dict[str, list[str]] = {}
    key = None
    for line in takewhile(lambda line: line.strip() != FENCE, lines[1:]):
        match = re.fullmatch(r"([A-Za-z_][\w-]*):(?:\s+(.*))?", line)
        if match:
            key = match[1]
            blocks[key] = [match[2].strip()] if match[2] else []
        elif key and line.strip():
            blocks[key].append(line.strip())
    return {key: value_of(block) for key, block in blocks.items()}


def value_of(block: list[str]) -> str | list[str]:
    """A plain value, ``[a, b]``, or ``- a`` and ``- b`` on lines of their own."""
    if len(block) == 1 and re.fullmatch(r"\[.*\]", block[0]):
        return [unquoted(item) for item in block[0][1:-1].split(",") if item.strip()]
    if block and all(line.startswith("- ") for line in block):
        return [unquoted(line[2:]) for line in block]
    return unquoted("\n".join(block))


def unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if re.fullmatch(r"""(["']).*\1""", text) else text


def held_out_table(lines: list[str]) -> list[TableRow]:
    """Rows of the first Markdown table that follows the words, in the same section."""
    named = False
    for i, line in enumerate(lines):
        if line.startswith("#"):
            named = False
        named = named or bool(re.search("held[- ]out", line, re.IGNORECASE))
        rule = lines[i + 1] if i + 1 < len(lines) else ""
        if named and line.startswith("|") and re.fullmatch(r"\|[\s:|-]+\|\s*", rule):
            rows = takewhile(lambda row: row.startswith("|"), lines[i + 2 :])
            return [dict(zip(cells(line), map(number, cells(row)), strict=False)) for row in rows]
    return []


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
