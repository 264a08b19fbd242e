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
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from pydicom import Dataset, config, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit

from medreasoner_monai.dicom.display import render_slice
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_clip, make_ct, make_enhanced, make_xray

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
DECIDING_KEYWORDS = tuple(DECIDING)
NONSENSE: tuple[bytes, ...] = (
    b"",
    b"abc ",
    b"-1",
    b"0 ",
    b"1e999 ",
    b"nan ",
    b"\xff\xff",
    b"1\\2\\x ",
    b"\x00" * 8,
    b"0\\0 ",
)


@cache
def templates() -> dict[str, bytes]:
    """Undamaged files, all with the same made-up patient in them."""
    folder = Path(mkdtemp())
    made = {
        "ct": make_ct(folder / "ct", 1)[0],
        "enhanced": make_enhanced(folder / "enhanced"),
        "clip": make_clip(folder / "clip"),
        "jpeg": carried("SC_rgb_jpeg_dcmtk.dcm"),
        "xray": make_xray(folder / "xray", "MONOCHROME1"),
    }
    found = {}
    for name, path in made.items():
        dataset = dcmread(path)
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Geheimnis^Zoe", "PID-4711", "19420317"
        dataset.StudyDescription = "Vertraulich"
        if name == "ct":
            dataset.WindowCenter, dataset.WindowWidth = 40, 400
        dataset.save_as(folder / "made.dcm")
        found[name] = (folder / "made.dcm").read_bytes()
    return found


def pixel_start(data: bytes) -> int:
    return max(data.rfind(b"\xe0\x7f\x10\x00O"), 140)


def places(data: bytes) -> list[int]:
    """Where explicit VR elements begin, nested ones too."""
    known = (b"DS", b"IS", b"US", b"CS", b"UI", b"SQ", b"LO", b"DA", b"PN", b"SS")
    return [i for i in range(140, pixel_start(data) - 8) if data[i + 4 : i + 6] in known and data[i + 1] < 0x80]


def flip_header(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        out[rng.randrange(132, pixel_start(data))] ^= 1 << rng.randrange(8)
    return bytes(out)


def flip_pixels(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 10, 50))):
        out[rng.randrange(pixel_start(data) + 40, len(data) - 20)] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data) - 200)]  # what ends a CT_small is padding


def change_length(data: bytes, rng: random.Random) -> bytes:
    out, at = bytearray(data), rng.choice([*places(data), pixel_start(data)])
    where = at + (8 if out[at + 4 : at + 6] in (b"SQ", b"OW", b"OB") else 6)
    out[where : where + 2] = struct.pack("<H", rng.choice((0, 1, 2, 6, 64, 0xFFFE, 0xFFFF)))
    return bytes(out)


def change_vr(data: bytes, rng: random.Random) -> bytes:
    out, at = bytearray(data), rng.choice([*places(data), pixel_start(data)])
    out[at + 4 : at + 6] = rng.choice((b"UN", b"DS", b"US", b"SQ", b"OB", b"PN", b"FD", b"ZZ", b"\xff\x00", b"AT"))
    return bytes(out)


def take_out(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        for keyword in rng.sample([k for k in (*DECIDING_KEYWORDS, "PixelData") if k in dataset], 1):
            delattr(dataset, keyword)

    return changed(data, change)


def take_out_anything(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        holder = dataset
        groups = [
            dataset[k].value[0]
            for k in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
            if k in dataset
        ]
        if groups and rng.random() < 0.6:
            holder = rng.choice(groups)
        del holder[rng.choice(list(holder.keys()))]

    return changed(data, change)


def write_nonsense(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        holder = dataset
        if "PerFrameFunctionalGroupsSequence" in dataset and rng.random() < 0.6:
            item = rng.choice([*dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence[0]])
            holder = rng.choice([e.value[0] for e in item])
        keyword = rng.choice([e.keyword for e in holder if e.keyword in DECIDING])
        old = holder[keyword]
        holder[old.tag] = RawDataElement(old.tag, old.VR, 0, rng.choice(NONSENSE), 0, False, True)

    return changed(data, change)


def nest(data: bytes, rng: random.Random) -> bytes:
    def change(dataset: Dataset) -> None:
        inner = Dataset()
        inner.PatientName = "Geheimnis^Zoe"
        for _ in range(rng.choice((3, 60))):
            outer = Dataset()
            outer.ReferencedImageSequence = [inner]
            inner = outer
        dataset.update(inner)

    return changed(data, change)


def cut_sequence(data: bytes, rng: random.Random) -> bytes:
    at = [i for i in places(data) if data[i + 4 : i + 6] == b"SQ"]
    if not at:
        return cut(data, rng)
    start = rng.choice(at) + 12
    return data[:start] + data[start + rng.randrange(1, 60) :]


def shorten_pixels(data: bytes, rng: random.Random) -> bytes:
    """Fewer pixels or fragments than the header says, in a file that is otherwise whole."""

    def change(dataset: Dataset) -> None:
        if dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit:
            frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
            dataset.PixelData = encapsulate([frame[: rng.randrange(0, len(frame) - 3)] or b"\x00\x00"])
        else:
            dataset.PixelData = dataset.PixelData[: rng.randrange(0, len(dataset.PixelData) // 2) * 2]

    return changed(data, change)


def changed(data: bytes, change: Callable[[Dataset]]) -> bytes:
    folder = Path(mkdtemp())
    path = folder / "x"
    path.write_bytes(data)
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path.read_bytes()


DAMAGES = (
    flip_header,
    flip_header,
    flip_pixels,
    cut,
    change_length,
    change_vr,
    take_out,
    take_out_anything,
    write_nonsense,
    write_nonsense,
    nest,
    cut_sequence,
    shorten_pixels,
)


class Outcome:
    """What a file gives: pictures, places, measures, and what is said about it."""

    def __init__(self, path: Path) -> None:
        series = choose_series(path)
        self.said = (*series.repairs, *series.notes)
        self.pictures = [render_slice(*series.load(i)) for i in range(len(series))]
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
