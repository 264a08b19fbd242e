"""Folders and links replaced in one step, so that who reads them meets the old or the new, never half."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
LINK_FROM = 1 << 20
"""Bytes from which on a file is linked and not copied: weights, which nobody edits in place."""


def link_file(link: Path, target: Path) -> None:
    """Point a relative link at a file below the link's folder, in place of what stood there."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target.relative_to(link.parent))
    new.replace(link)


def replace_folder(target: Path, source: Path) -> None:
    """Make ``target`` a folder with the content of ``source``, in place of the folder or link that stood there.

    Large files are hard links where the file system allows it, so that weights lie on the disk once; small ones are
    copies, which may be edited. Processes that have files of the old folder open keep them.
    """
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new = work / "new"
        shutil.copytree(source, new, copy_function=_copy)
        if target.is_symlink():
            target.unlink()
        if not target.exists():
            new.rename(target)
        elif not _exchange(new, target):
            target.rename(work / "old")
            new.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _copy(source: str, target: str) -> str:
    if Path(source).stat().st_size >= LINK_FROM:
        try:
            os.link(os.path.realpath(source), target)
            return target
        except OSError:  # another file system
            pass
    return str(shutil.copyfile(source, target))


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step (Linux); False where the system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done: int = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    return done == 0
