"""Fill in the tables of docs/models.md from the measurements: python scripts/model_tables.py

Reads docs/benchmarks.csv (levels 1 and 6) and docs/benchmarks_nano.csv (level 6 with nano), both of
measure_files.py, and writes between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable
from pathlib import Path

# "the code tarballs, the JSON and log files" and the standard ones, in the order of the table.
TEXTS = ("enwik6", "enwik8.head4M", "alice29.txt", "world192.txt", "dickens")
SUFFIXES = (".tar", ".json", ".ndjson", ".log")
PEERS = {"xz-9e": "xz -9e", "brotli-11": "brotli -11", "paq8px-8": "paq8px -8", "cmix-v21": "cmix"}
# Universal Declaration of Human Rights: the file is the language's ISO 639-3 code.
LANGUAGES = {
    "Arabic": "arb", "Chinese": "cmn_hans", "English": "eng", "French": "fra", "German": "deu",
    "Hebrew": "heb", "Hindi": "hin", "Italian": "ita", "Japanese": "jpn", "Korean": "kor",
    "Persian": "pes_1", "Polish": "pol", "Portuguese": "por_PT", "Russian": "rus",
    "Spanish": "spa", "Thai": "tha", "Turkish": "tur", "Ukrainian": "ukr", "Vietnamese": "vie",
}  # fmt: skip
# XQuAD: questions about Wikipedia with their paragraphs, translated.
XQUAD = {
    "English": "en", "German": "de", "Spanish": "es", "Chinese": "zh", "Russian": "ru",
    "Greek": "el", "Thai": "th", "Turkish": "tr", "Vietnamese": "vi",
}  # fmt: skip

Rows = dict[str, dict[str, str]]


def read(path: Path, level: str) -> Rows:
    with path.open(newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file) if row["level"] == level}


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bits(row: dict[str, str] | None, column: str = "nncodec") -> str:
    """Bits per byte of one measurement; nothing where it was not made."""
    if not row or not row[column]:
        return ""
    return f"{8 * int(row[column]) / int(row['bytes']):.3f}"


def files(contexts: Rows, nano: Rows, default: Rows) -> str:
    ending = [name for suffix in SUFFIXES for name in default if name.endswith(suffix)]
    names = [*TEXTS, *(n for n in ending if not n.startswith("xquad"))]
    head = ["file", "bytes", *PEERS.values(), "contexts alone (-1)", "nano", "small"]
    return table(
        head,
        (
            [name, default[name]["bytes"], *(bits(default[name], peer) for peer in PEERS)]
            + [bits(rows.get(name)) for rows in (contexts, nano, default)]
            for name in names
        ),
    )


def languages(contexts: Rows, nano: Rows, default: Rows) -> str:
    texts = {f"{name}, rights": f"{code}.txt" for name, code in LANGUAGES.items()}
    quad = {name: f"xquad.{code}.json" for name, code in XQUAD.items()}
    named = {**texts, **{f"{name}, questions": file for name, file in quad.items()}}
    head = ["text", "bytes", "xz -9e", "contexts alone (-1)", "nano", "small", "small to contexts"]
    rows = []
    for name, file in named.items():
        row, alone = default[file], contexts[file]
        gain = round(100 * (int(row["nncodec"]) / int(alone["nncodec"]) - 1), 1)
        columns = [bits(row, "xz-9e"), bits(alone), bits(nano.get(file)), bits(row)]
        rows.append([name, row["bytes"], *columns, f"{gain:+} %" if gain else "0 %"])
    return table(head, rows)


def fill(text: str, name: str, content: str) -> str:
    marks = rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)"
    filled, count = re.subn(marks, lambda m: m[1] + content + m[2], text, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"model_tables: no place for {name} in the document")
    return filled


def main() -> None:
    docs = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs"
    measured = (
        read(docs / "benchmarks.csv", "1"),
        read(docs / "benchmarks_nano.csv", "6"),
        read(docs / "benchmarks.csv", "6"),
    )
    text = (docs / "models.md").read_text("utf-8")
    text = fill(text, "files", files(*measured))
    text = fill(text, "languages", languages(*measured))
    (docs / "models.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
