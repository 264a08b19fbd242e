"""Files within a source's folder: names that stay inside it, and pictures that can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.pictures import UNREADABLE
from medreasoner_monai.errors import InputError

T = TypeVar("T", bound=np.generic)


def inside(root: Path, name: str) -> Path:
    """A path within a folder, by a name from a file or a config.

    Raises
    ------
    InputError
        If it leads out of the folder, through a link too.
    """
    path = root / name
    if not name or "\0" in name or Path(name).is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"the name {name!r} leads out of the folder {root.name}; use a path within it")
    return path


def read_picture(path: Path, read: Callable[[bytes], NDArray[T]]) -> NDArray[T]:
    """A picture file by one of the functions of :mod:`medreasoner_monai.data.pictures`.

    Raises
    ------
    InputError
        If it is missing, damaged, no picture, or would fill the memory.
    """
    try:
        return read(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path.name} is not there") from None
    except UNREADABLE as error:
        raise InputError(f"{path.name} is not a readable picture ({error})") from None
