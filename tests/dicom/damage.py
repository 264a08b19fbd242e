"""Ways to damage a DICOM file, each the same for the same seed, and the undamaged files to begin with."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit

from tests.dicom.tools import carried, make_clip, make_ct, make_enhanced, make_xray

DECIDING_KEYWORDS = (
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PlanarConfiguration",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "Modality",
)
"""What decides the picture and its place."""
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
        keyword = rng.choice([e.keyword for e in holder if e.keyword in DECIDING_KEYWORDS])
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
