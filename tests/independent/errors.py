"""The one exception of the package."""


class Rejected(Exception):
    """What the specification says a reader MUST reject (FORMAT.md, "What a reader MUST reject")."""
