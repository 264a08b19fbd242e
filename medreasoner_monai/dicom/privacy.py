"""Keep the DICOM libraries' own remarks out of logs and off the terminal: they quote values, and a value may be a name.

It is done once, when this package is imported, and for the whole process: what is switched on and off around calls is
lifted by one thread under another. ``logging.getLogger("pydicom").setLevel(…)`` brings a program's own remarks back.
"""

from __future__ import annotations

import logging
import warnings

_DECODERS = ("pylibjpeg", "openjpeg")
for _name in _DECODERS:  # pydicom imports them, and they say so
    logging.getLogger(_name).setLevel(logging.CRITICAL)

import pydicom  # noqa: E402, F401 - it sets its logger's level when it is imported, which must come before ours

_LIBRARIES = ("pydicom", "highdicom", *_DECODERS)


def silence() -> None:
    """From now on, pydicom, highdicom and the decoders neither warn nor log below CRITICAL."""
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
