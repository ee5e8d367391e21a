"""An explanation on a terminal: sums, coloured text, and the hardest and easiest stretches.

rich leaves the colours out in pipes and where ``NO_COLOR`` is set. Each line has its bits a byte
before it, so that even then it says something. Control characters are never printed.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.text import Text

from nncodec.explain.explanation import Detail, Explanation, Region
from nncodec.explain.page import looks_like_text
from nncodec.explain.summary import Stretch, stretches

STEPS = (0.1, 0.3, 0.6, 1, 2, 4, 8)  # as on the page
# From light to dark (after inferno), so that they differ without hue, too.
STYLES = (
    "black on #fdfcf9", "black on #fdeeb9", "black on #fbd47a", "black on #f9a63f",
    "black on #e96f36", "white on #c43c4e", "white on #832681", "white on #2d0b59",
)  # fmt: skip
UNKNOWN = "dim"
HEX_BYTES = 16
MOST_REGIONS = 20


def show(shown: Explanation, facts: dict[str, Any], summary: bool = True) -> None:
    """Print it to standard output; without ``summary`` the bytes and stretches alone."""
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    if summary:
        for said in sums(shown, facts):
            console.print(said)
    if len(shown.data):
        if summary:
            console.print()
        console.print(f"Bytes {shown.begin} to {shown.end}, bits a byte before each line")
        console.print(legend())
        for line in text_lines(shown) if looks_like_text(bytes(shown.data)) else hex_lines(shown):
            console.print(line)
        least, most = stretches(shown, 5)
        for title, found in (("Hardest", least), ("Easiest", most)):
            if found:
                console.print(f"\n{title} of these, bits a byte")
            for stretch in found:
                console.print(stretch_line(shown, stretch))


def sums(shown: Explanation, facts: dict[str, Any]) -> Iterator[str]:
    totals = shown.totals()
    compared = totals["compared"]
    yield printable(
        f"{facts['file']}: {shown.size} bytes, {shown.archive_bytes} compressed "
        f"({shown.bits_per_byte:.4f} bits a byte; headers {totals['header_bytes']} bytes), "
        f"level {facts['level']}, model {facts['model'] or 'none'}"
    )
    if compared["bytes"]:
        for name, key in (
            ("network alone", "network_bits"),
            ("context models alone", "contexts_bits"),
            ("both, as coded", "both_bits"),
        ):
            bits = compared[key]
            whole = math.ceil(bits / 8)  # as on the page: a code length takes whole bytes
            yield f"  {name:22}{whole:12} bytes {bits / compared['bytes']:8.4f} bits a byte"
    if len(shown.regions) > 1 or not compared["bytes"]:
        for region in shown.regions[:MOST_REGIONS]:
            yield region_line(region)
        if len(shown.regions) > MOST_REGIONS:
            yield f"  and {len(shown.regions) - MOST_REGIONS} more blocks"


def region_line(region: Region) -> str:
    bits = 8 * region.payload_bytes / region.size
    tensors = ", ".join(region.tensors[:3]) + (", ..." if len(region.tensors) > 3 else "")
    where = f"{region.begin} to {region.end}"
    return f"  {where:24} {region.kind:16} {bits:8.4f} bits a byte  {tensors}".rstrip()


def legend() -> Text:
    line = Text("bits: ")
    for i, style in enumerate(STYLES):
        line.append(f" >={STEPS[i - 1]:g} " if i else f" <{STEPS[0]:g} ", style)
    return line


def style_of(bits: float, known: bool) -> str:
    return STYLES[sum(bits >= step for step in STEPS)] if known else UNKNOWN


def text_lines(shown: Explanation) -> Iterator[Text]:
    """A line for each line of text, character by character."""
    line, at, begun = Text(), 0, 0
    known = shown.detail != Detail.BLOCK
    for character in characters(bytes(shown.data)):
        own = slice(at, at + len(character))
        at = own.stop
        line.append(glyph(character), style_of(float(shown.bits[own].mean()), bool(known[own][0])))
        if character == b"\n" or at == len(shown.data):
            mean = float(shown.bits[begun:at].mean())
            yield Text(f"{mean:6.3f} ").append_text(line)
            line, begun = Text(), at


def hex_lines(shown: Explanation) -> Iterator[Text]:
    known = shown.detail != Detail.BLOCK
    for at in range(0, len(shown.data), HEX_BYTES):
        own = range(at, min(at + HEX_BYTES, len(shown.data)))
        line = Text(f"{float(shown.bits[at : own.stop].mean()):6.3f} {shown.begin + at:8x} ")
        for i in own:
            line.append(f" {shown.data[i]:02x}", style_of(float(shown.bits[i]), bool(known[i])))
        yield line


def stretch_line(shown: Explanation, stretch: Stretch) -> str:
    data = shown.data[stretch.begin - shown.begin : stretch.end - shown.begin]
    text = "".join(map(glyph, characters(data.tobytes())))
    return f"{stretch.bits_per_byte:6.3f}  {stretch.begin} to {stretch.end}  {text}"


def characters(data: bytes) -> Iterator[bytes]:
    """UTF-8 characters, and what is none byte by byte."""
    for character in data.decode("utf-8", "surrogateescape"):
        yield character.encode("utf-8", "surrogateescape")


def glyph(character: bytes) -> str:
    """What stands for it, never a control character, nor one that joins with others."""
    if character == b"\n":
        return "\u23ce"
    text = character.decode("utf-8", "replace")
    return (
        text
        if text == " " or (text.isprintable() and not unicodedata.combining(text))
        else "\u00b7"
    )


def printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\u00b7" for c in text)
