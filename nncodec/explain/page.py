"""An explanation as one HTML file that asks the network for nothing.

Everything that comes from the file is in one block of base64 or in JSON without ``<``, and is only
ever shown as text: nothing in a file can become part of the page. ``page_bytes.js`` reads the
columns in the order of ``packed``; docs/explain.md has the layout.
"""

from __future__ import annotations

import base64
import html
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec import pages
from nncodec.errors import NNCodecError
from nncodec.explain.document import head
from nncodec.explain.explanation import Explanation

MOST_SHOWN = 1 << 22  # bytes on a page
TEXT_SHARE = 0.95  # of a sample's characters are no controls: then it is shown as text

SCRIPTS = ("page_bytes.js", "page_rows.js", "page_panel.js")

Column = npt.NDArray[np.uint8]


def render(shown: Explanation, facts: dict[str, Any]) -> bytes:
    """The page, in UTF-8. ``facts`` are ``document.facts``. Raises NNCodecError if too much."""
    if len(shown.data) > MOST_SHOWN:
        raise NNCodecError(
            f"a page shows {MOST_SHOWN} bytes at most, these are {len(shown.data)}; "
            f"choose some with --range {shown.begin}:{shown.begin + MOST_SHOWN}"
        )
    about = {**head(shown, facts), "text": looks_like_text(bytes(shown.data[: 1 << 16]))}
    columns = zlib.compress(b"".join(c.tobytes() for c in packed(shown)), 6)
    title = html.escape(f"{facts['file']} - nncodec explain").encode("ascii", "xmlcharrefreplace")
    parts = {
        "TITLE": title.decode(),
        "ABOUT": pages.script_json(about),
        "COLUMNS": base64.b64encode(columns).decode(),
    }
    return pages.fill(__package__, SCRIPTS, parts)


def looks_like_text(sample: bytes) -> bool:
    """Whether most of it is UTF-8 without control characters."""
    characters = sample.decode("utf-8", "replace")
    fine = sum(c.isprintable() or c in "\t\n\r\f" for c in characters if c != "\ufffd")
    return fine >= TEXT_SHARE * len(characters)


def packed(shown: Explanation) -> list[Column]:
    """The columns of n bytes each, one after the other; (n, 5) ones byte by byte."""
    known = shown.expected >= 0
    # Likeliest bytes of less than 1/512 tell nothing, and compress better left out.
    top = np.where(shown.top_p >= 128, shown.top, 0)
    return [
        shown.data,
        quantized_bits(shown.bits),
        quantized_bits(shown.network),
        quantized_bits(shown.contexts),
        (shown.rank % 256).astype(np.uint8),
        np.where(known, shown.expected, 0).astype(np.uint8),
        (shown.detail + 4 * known + 8 * (shown.rank >= 0)).astype(np.uint8),
        np.minimum(shown.match_length, 255).astype(np.uint8),
        *np.ascontiguousarray(top.T.astype(np.uint8)),
        *np.ascontiguousarray(quantized_shares(shown.top_p).T),
    ]


def quantized_bits(bits: npt.NDArray[np.float32]) -> Column:
    """(n,) bits as 30 log2(1 + 16 bits), at most 254, which is 22 bits; 255: not known."""
    with np.errstate(invalid="ignore"):
        steps = np.minimum(np.rint(30 * np.log2(1 + 16 * bits)), 254)
        return np.where(np.isnan(bits), 255, steps).astype(np.uint8)


def quantized_shares(top_p: npt.NDArray[np.integer]) -> Column:
    """(n, 5) probabilities p of 65536 as 1 + 28 times the bits -log2 p; 0: below 1/512, or none."""
    bits = 16 - np.log2(np.maximum(top_p, 1))
    return np.where(top_p >= 128, 1 + np.rint(28 * bits), 0).astype(np.uint8)
