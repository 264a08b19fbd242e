"""The folder of an export: new or empty, and never there in part."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import write_json

REJECTS = "rejects.json"


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into: it is called ``out`` once the block has ended well, and is gone when it has not.

    Raises
    ------
    InputError
        If ``out`` is there and not an empty folder, or cannot be made.
    """
    final = out.resolve()
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise InputError(f"{out} exists and is no empty folder; name another, nothing is overwritten")
    temporary = final.with_name(f".{final.name}.{os.getpid()}.partial")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made: {error.strerror}") from None
    try:
        yield temporary
        try:
            temporary.replace(final)
        except OSError as error:
            raise InputError(f"{out} came into use while it was being written: {error.strerror}") from None
    except BaseException:
        shutil.rmtree(temporary)
        raise


def write_rejects(folder: Path, rejects: Mapping[str, Sequence[Reject]]) -> int:
    """Write down what was set aside, by split; returns how many."""
    listed = {
        split: [{"where": r.where, "reason": r.reason, "step": r.step} for r in some] for split, some in rejects.items()
    }
    write_json(folder / REJECTS, listed)
    return sum(len(some) for some in listed.values())
