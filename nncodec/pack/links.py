"""Whether a symbolic link of an archive would lead out of the folder that it is unpacked to.

Text alone does not tell: ``a/b/..`` is ``a`` only while ``a/b`` is no link. So a target is followed
part by part, through the archive's other links, whether they are there already or not.

Nor does one archive tell: another one, unpacked to the same folder before or after it, may have a
link where this one passes. So ``..`` may only come first, or behind folders that are there: links
never replace these. Then every link goes up no further than its own folder lies deep, and down.
"""

from __future__ import annotations

import os
import stat
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


def turns_behind_others(folder: bytes, name: bytes, target: bytes) -> bool:
    """Whether a link's target has ``..`` behind what is no folder below ``folder``, and may be or
    become a link; or too many of them. The link's own folder is one, and no link leads to it."""
    path, real = name.split(b"/")[:-1], True
    for part in target.split(b"/"):
        if part in (b"", b"."):
            continue
        if part != b"..":
            path.append(part)
            real = real and is_folder(os.path.join(folder, *path))
            continue
        if not path or not real:
            return True
        path.pop()
    return False


def is_folder(path: bytes) -> bool:
    """And no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def is_absolute(path: bytes) -> bool:
    """Also as Windows has it: a drive, a backslash."""
    return path.startswith((b"/", b"\\")) or path[1:2] == b":"
