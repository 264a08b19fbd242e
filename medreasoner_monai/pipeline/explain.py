"""Errors of the machine below a stage, such as a full disk, as one line that says what, where and what to do."""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from medreasoner_monai.errors import DiskFullError, MedReasonerError

# Arrow, Rust (safetensors, tokenizers), SQLite and a worker's last words carry no errno; torch says even less.
_FULL = re.compile(
    r"No space left on device|os error 28\b|Errno 28\b|database or disk is full|Disk quota exceeded"
    r"|PytorchStreamWriter failed|inline_container\.cc.*(unexpected pos|write failed)",
    re.IGNORECASE | re.DOTALL,
)


def explain_error(error: BaseException, folder: Path | None = None, doing: str = "") -> MedReasonerError | None:
    """The error to show a person in place of ``error``, or None if it is not one that is known.

    Parameters
    ----------
    folder:
        Where the work was done, for errors that do not name a file themselves.
    doing:
        What was being done, such as ``"grpo"``.

    Returns
    -------
    A :class:`DiskFullError` if ``error`` or one of its causes comes from a full disk, whoever reported it; ``error``
    itself if it is one of ours.
    """
    for cause in causes(error):
        if isinstance(cause, DiskFullError):
            return cause
        if is_disk_full(cause):
            return DiskFullError(_full(cause, folder, doing))
    return error if isinstance(error, MedReasonerError) else None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and what was being handled then."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        found = waiting.pop(0)
        if found is None or id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        waiting += [found.__cause__, found.__context__]


def is_disk_full(error: BaseException) -> bool:
    """Whether this very error, leaving its causes aside, says that a disk (or a quota) is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return _FULL.search(str(error)) is not None


def disk_full(folder: Path, doing: str = "") -> DiskFullError:
    """The error for a full disk below ``folder``."""
    return DiskFullError(_message(folder, doing))


def _full(error: BaseException, folder: Path | None, doing: str) -> str:
    named = error.filename2 or error.filename if isinstance(error, OSError) else None
    if isinstance(named, str):
        return _message(Path(named).parent, f"{doing + ', ' if doing else ''}writing {Path(named).name}")
    places = [place for place in (folder, Path(tempfile.gettempdir())) if place is not None]
    return _message(min(places, key=_free), doing)


def _free(place: Path) -> int:
    return shutil.disk_usage(_existing(place)).free


def _existing(place: Path) -> Path:
    place = place.absolute()
    return next(p for p in (place, *place.parents) if p.exists())


def _message(place: Path, doing: str) -> str:
    usage = shutil.disk_usage(_existing(place))
    during = f" ({doing})" if doing else ""
    return (
        f"the disk of {place} is full{during}: {_size(usage.free)} of {_size(usage.total)} are free; make room, then "
        "the same command goes on from here"
    )


def _size(count: float) -> str:
    """Bytes in the unit of file managers.

    >>> _size(12_582_912), _size(3_500_000_000)
    ('12.6 MB', '3.5 GB')
    """
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
