"""Damaged files give a picture that is right, a report, or an error; never a crash, a hang or a wrong picture unsaid.

Two hundred files, the same in each run, are made from five templates by flipping bytes, cutting, changing lengths and
VRs, taking attributes out, nesting and cutting sequences, writing nonsense for values and cutting compressed frames.

A *silent success* is a result that differs from the undamaged file's in a picture, a shape, a place, a spacing or a
slice's distance, while repairs and notes are the undamaged file's. Two such differences no reader can detect, and they
are allowed:

- flipped bytes within pixel values or within a compressed frame: the shape must still be right, and where pixels were
  *cut*, a picture must not be given as if nothing were missing;
- an attribute that now has another value, and the value is one the standard allows (a window centre of 60 where it was
  40), or that is now absent and may be. :data:`DECIDING` and :data:`MAY_BE_ABSENT` say what is allowed, and the
  attributes are read here with pydicom alone.
"""

from __future__ import annotations

import logging
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from pydicom import Dataset, config, dcmread

from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.damage import DAMAGES, DECIDING_KEYWORDS, cut, flip_pixels, shorten_pixels, templates

SECRETS = ("Geheimnis", "Zoe", "PID-4711", "19420317", "Vertraulich")
FILES_OF_EACH = 40
LIMIT_SECONDS = 5


def numbers(count: int, least: float = -1e9) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        many = value if isinstance(value, list) else [value]
        return len(many) == count and all(float(str(v)) >= least and np.isfinite(float(str(v))) for v in many)

    return fits


def number(value: object) -> bool:
    return numbers(1)(value)


def one_of(*allowed: object) -> Callable[[object], bool]:
    return lambda value: value in allowed


def windows(value: object) -> bool:
    return numbers(len(value) if isinstance(value, list) else 1)(value)


def orientation(value: object) -> bool:
    """Two perpendicular unit vectors."""
    if not numbers(6)(value):
        return False
    axes = np.array([float(str(v)) for v in value]).reshape(2, 3)  # type: ignore[attr-defined]
    return bool(np.allclose(axes @ axes.T, np.eye(2), atol=1.5e-2))


# What decides picture and place, and which other values of it cannot be told from right ones.
DECIDING: dict[str, Callable[[object], bool]] = {
    "Rows": number,
    "Columns": number,
    "NumberOfFrames": number,
    "SamplesPerPixel": one_of(1, 3),
    "BitsAllocated": one_of(1, 8, 16, 32),
    "BitsStored": number,
    "PixelRepresentation": one_of(0, 1),
    "PlanarConfiguration": one_of(0, 1),
    "PhotometricInterpretation": one_of("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "YBR_FULL_422"),
    "RescaleSlope": number,
    "RescaleIntercept": number,
    "WindowCenter": windows,
    "WindowWidth": lambda v: windows(v) and numbers(1, 1e-9)(v if not isinstance(v, list) else v[0]),
    "VOILUTFunction": one_of("LINEAR", "LINEAR_EXACT", "SIGMOID"),
    "PixelPaddingValue": number,
    "PixelPaddingRangeLimit": number,
    "ImagePositionPatient": numbers(3),
    "ImageOrientationPatient": orientation,
    "PixelSpacing": numbers(2, 1e-9),
    "SliceThickness": number,
    "SpacingBetweenSlices": number,
    "Modality": lambda v: isinstance(v, str),
}
assert set(DECIDING) == set(DECIDING_KEYWORDS)


class Outcome:
    """What a file gives: pictures, places, measures, and what is said about it."""

    def __init__(self, path: Path) -> None:
        series = choose_series(path)
        self.said = (*series.repairs, *series.notes)
        self.pictures = [series.view(i).pixels for i in range(len(series))]
        places = [series.position(i) for i in range(len(series))]
        self.place = (series.shape, series.in_space, series.spacing, series.slice_distance, places)

    def differs(self, other: Outcome) -> bool:
        return repr(self.place) != repr(other.place) or not all(
            np.array_equal(a, b) for a, b in zip(self.pictures, other.pictures, strict=True)
        )


@cache
def undamaged(name: str) -> Outcome:
    path = Path(mkdtemp()) / "whole.dcm"
    path.write_bytes(templates()[name])
    return Outcome(path)


def values(path: Path) -> dict[str, list[object]]:
    """Each deciding attribute wherever it stands, as pydicom reads it."""
    found: dict[str, list[object]] = {keyword: [] for keyword in DECIDING}

    def look(dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            try:
                element = dataset[tag]
                value = list(element.value) if element.VM > 1 else element.value
            except Exception:
                continue
            if element.keyword in found and element.VR != "SQ":
                found[element.keyword].append(None if value in ("", None, []) else value)
            if element.VR == "SQ":
                for item in element.value:
                    look(item)

    look(dcmread(path, force=True))
    return found


# Attributes that the template's kind of image need not have (PS3.3 A), so that nobody can miss them.
MAY_BE_ABSENT = {
    "ct": ("SliceThickness", "SpacingBetweenSlices", "PixelPaddingValue"),
    "enhanced": ("SliceThickness",),
    "jpeg": ("PixelSpacing", "WindowCenter", "WindowWidth"),
}


def says_something_else(path: Path, name: str) -> bool:
    """Whether a deciding attribute has another value than in the undamaged file, and one that is allowed."""
    whole = path.with_name("whole.dcm")
    whole.write_bytes(templates()[name])
    before, now = values(whole), values(path)
    for keyword, fits in DECIDING.items():
        if repr(before[keyword]) != repr(now[keyword]):
            try:
                absent = not now[keyword] or now[keyword] == [None]
                if keyword in MAY_BE_ABSENT.get(name, ()) if absent else all(fits(v) for v in now[keyword]):
                    return True
            except (TypeError, ValueError):
                continue
    return False


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("seed", range(FILES_OF_EACH))
@pytest.mark.parametrize("name", ["ct", "enhanced", "clip", "jpeg", "xray"])
def test_a_damaged_file_is_never_a_silent_success(
    name: str, seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(f"{name} {seed}")
    damage = DAMAGES[seed % len(DAMAGES)]
    path = tmp_path / "damaged.dcm"
    with config.disable_value_validation():
        path.write_bytes(damage(templates()[name], rng))
    caplog.set_level(logging.DEBUG)
    whole = undamaged(name)
    try:
        with at_most(LIMIT_SECONDS):
            found = Outcome(path)
    except DicomError as error:
        text = str(error)
        assert "damaged.dcm" in text, "an error names the file"
    else:
        text = " ".join(found.said)
        if found.said == whole.said:
            if damage in (cut, shorten_pixels):
                pytest.fail("pixels are missing and nothing was said")
            if damage is flip_pixels:
                assert found.place == whole.place
            elif found.differs(whole):
                assert says_something_else(path, name), f"{damage.__name__}: another result, and nothing was said"
    for secret in SECRETS:
        assert secret not in text + caplog.text
