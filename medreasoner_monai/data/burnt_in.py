"""Text that is burnt into a picture: names and dates that left the hospital inside the pixels, found by RapidOCR.

RapidOCR's package carries its models (PP-OCRv4), so that nothing is fetched and nothing leaves the machine. It is not
among the dependencies: see docs/decisions/dependencies.md for how it is installed and how well it finds text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.errors import ConfigError

_PACKAGE = "rapidocr-onnxruntime"
_SURE = 0.8
"""Confidence from which a line of text counts. On pictures without any, the tissue is taken for letters below it."""
_LONG = 4  # letters


def lines_of_text(image: NDArray[np.uint8]) -> list[str]:
    """The lines of text on a picture, ``(rows, cols)`` or ``(rows, cols, 3)`` RGB.

    They may name a patient: they are for :func:`characters` and go into no reject, file or log.

    Raises
    ------
    ConfigError
        If RapidOCR is not installed.
    """
    colours = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image[:, :, ::-1]
    found, _ = _reader()(np.ascontiguousarray(colours), use_cls=False)  # blue first, as OpenCV has it
    return [str(text) for _, text, confidence in found or () if float(confidence) >= _SURE]


def characters(lines: Iterable[str], allowed: Sequence[str]) -> int:
    """Letters and digits in some lines, without the words that are allowed.

    The reader often loses the space between two words, so a run of allowed words counts as allowed too, if one of them
    is long enough to say that it is no name.

    >>> characters(["PAERECT"], ["pa", "erect"]), characters(["Ralph"], ["r", "a", "l", "p", "h"])
    (0, 5)
    >>> characters(["PA ERECT", "R", "DOE^JANE 1956"], ["pa", "erect", "r"])
    11
    """
    words = (word for line in lines for word in re.findall(r"[^\W_]+", line))
    joined = "|".join(map(re.escape, sorted((w for w in allowed if len(w) > 1), key=len, reverse=True)))
    long = "|".join(re.escape(w) for w in allowed if len(w) >= _LONG)
    run = re.compile(f"(?:{joined})*(?:{long})(?:{joined})*") if long else None
    return sum(len(word) for word in words if word.lower() not in allowed and not (run and run.fullmatch(word.lower())))


def reader_version() -> str:
    """Installed version of RapidOCR, for a cache key.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        return version(_PACKAGE)
    except PackageNotFoundError:
        raise _missing() from None


@lru_cache(maxsize=1)
def _reader() -> Any:
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError:
        raise _missing() from None
    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)  # each core has a worker of its own


def _missing() -> ConfigError:
    return ConfigError(
        f"data.clean.text needs {_PACKAGE}: install medreasoner-monai[text], then {_PACKAGE} with --no-deps (its own "
        "OpenCV would take the place of the one in use), or set data.clean.text to off"
    )
