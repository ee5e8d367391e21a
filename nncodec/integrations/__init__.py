"""nncodec inside other libraries' files and arrays. Nothing here is imported until it is asked for.

numcodecs and zarr find their codecs by entry points. fsspec and joblib have none for compression:
``register()`` tells them, in every process that is to read or write. Readers without this package
and the model cannot read what was written (docs/integrations.md).
"""

from __future__ import annotations

import importlib
import importlib.util

from nncodec.errors import NNCodecError
from nncodec.extras import need

HOSTS = ("fsspec", "joblib", "numcodecs", "zarr")
EXTRA = "hosts"  # that brings them all


def register(*hosts: str) -> tuple[str, ...]:
    """Tell these libraries of nncodec, or all that are installed; returns which ones. Repeatable.

    Raises MissingPackageError if a library that was named is not installed, NNCodecError for
    one that is not known here.
    """
    for host in hosts:
        if host not in HOSTS:
            raise NNCodecError(f"no host {host!r}: choose from {', '.join(HOSTS)}")
        need(host, EXTRA)
    chosen = hosts or tuple(host for host in HOSTS if importlib.util.find_spec(host))
    for host in chosen:
        importlib.import_module(f"nncodec.integrations.{host}").register()
    return chosen
