"""Where the bits of a file go, byte by byte: ``nncodec explain``; see docs/explain.md."""

from nncodec.explain.explanation import Detail, Explanation, Region, explain

__all__ = ["Detail", "Explanation", "Region", "explain"]
