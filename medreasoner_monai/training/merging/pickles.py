"""Files of ``torch.save`` read without running anything that stands in them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from medreasoner_monai.errors import InputError

_FOREIGN = re.compile(r"GLOBAL (\S+)")


@contextmanager
def allowing(named: Sequence[Any]) -> Iterator[None]:
    """Besides tensors and containers, ``torch.load(weights_only=True)`` takes these classes and no others.

    A pair ``(class, "module.name")`` puts the class in place of the one a file names. What other libraries have allowed
    is set aside meanwhile, so that the same file is read the same way whatever was imported before.
    """
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(list(named))
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def load(path: Path) -> dict[str, Any]:
    """The dictionary in a file; its tensors stay on the disk until they are used.

    Raises
    ------
    InputError
        If the file is damaged, names code that is not allowed here, or holds no dictionary.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise refusal(path, error) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged or cut off; copy it again ({first[:120]})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} holds a {type(found).__name__}, expected a dictionary of tensors by name")
    return found


def refusal(path: Path, error: pickle.UnpicklingError) -> InputError:
    """What to say of a file that asks for more than weights."""
    foreign = _FOREIGN.search(str(error))
    what = f"would run {foreign[1]} when loaded" if foreign else "holds more than weights"
    return InputError(f"{path} {what}; it was not opened. Shards hold nothing but weights: find out where it is from")
