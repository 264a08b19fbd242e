"""Keep the DICOM libraries' own remarks out of the logs: they quote values, and a value may be a patient's name."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LIBRARIES = ("pydicom", "highdicom")


@contextmanager
def private() -> Iterator[None]:
    """While inside, pydicom and highdicom neither warn nor log below CRITICAL; also usable as a decorator."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
