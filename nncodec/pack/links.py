"""Whether a symbolic link of an archive would lead out of the folder that it is unpacked to.

Text alone does not tell: ``a/b/..`` is ``a`` only while ``a/b`` is no link. So a target is followed
part by part, through the archive's other links, whether they are there already or not.
"""

from __future__ import annotations

from collections.abc import Mapping

MOST_STEPS = 40  # links that a path may lead through, as Linux has it


def leads_out(name: bytes, targets: Mapping[bytes, bytes]) -> bool:
    """Whether the link ``name`` leads above the root, or nowhere; ``targets`` are all links'."""
    left = name.split(b"/")[::-1]
    path: list[bytes] = []
    steps = 0
    while left:
        part = left.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not path:
                return True
            path.pop()
            continue
        path.append(part)
        target = targets.get(b"/".join(path))
        if target is None:
            continue
        steps += 1
        if steps > MOST_STEPS or is_absolute(target):
            return True
        path.pop()
        left += target.split(b"/")[::-1]
    return False


def is_absolute(path: bytes) -> bool:
    """Also as Windows has it: a drive, a backslash."""
    return path.startswith((b"/", b"\\")) or path[1:2] == b":"
