"""An explanation as JSON, for scripts; docs/explain.md has the schema."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

import nncodec
from nncodec.codec import Codec
from nncodec.explain.explanation import Explanation
from nncodec.explain.summary import curve, stretches
from nncodec.levels import LEVELS

SCHEMA = 1


def facts(name: str, level: int, model: str | None, codec: Codec) -> dict[str, Any]:
    """What was explained, and by which codec."""
    return {
        "schema": SCHEMA,
        "nncodec": nncodec.__version__,
        "file": name,
        "level": level,
        "model": model or LEVELS[level].model,
        "model_id": codec.model_id.hex() if codec.model_id else None,
    }


def head(shown: Explanation, about: dict[str, Any]) -> dict[str, Any]:
    """All but what is said of each byte."""
    least, most = stretches(shown)
    return {
        **about,
        "range": [shown.begin, shown.end],
        "totals": shown.totals(),
        "blocks": [asdict(region) for region in shown.regions],
        "least_predictable": [asdict(stretch) for stretch in least],
        "most_predictable": [asdict(stretch) for stretch in most],
        "curve": curve(shown),
    }


def document(shown: Explanation, about: dict[str, Any]) -> dict[str, Any]:
    """Everything. Arrays have an entry for each byte of the range; None: not known."""
    return {
        **head(shown, about),
        "bytes": {
            "value": shown.data.tolist(),
            "detail": shown.detail.tolist(),
            "bits": rounded(shown.bits),
            "network_bits": rounded(shown.network),
            "contexts_bits": rounded(shown.contexts),
            "candidates": shown.top.tolist(),
            "candidates_p65536": shown.top_p.tolist(),
            "rank": shown.rank.tolist(),
            "expected": shown.expected.tolist(),
            "match_length": shown.match_length.tolist(),
        },
    }


def rounded(bits: npt.NDArray[np.float32]) -> list[float | None]:
    return [None if b != b else round(b, 4) for b in bits.tolist()]
