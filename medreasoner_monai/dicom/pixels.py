"""Pixel data: whether all of it is there, and one frame of it at a time.

A frame is fetched from the file by its place, so a multi-frame image of many gigabytes costs one frame's memory.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, BinaryIO, cast

from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder

from medreasoner_monai.dicom import isolated
from medreasoner_monai.dicom.codestream import fault, precision
from medreasoner_monai.dicom.encapsulated import encapsulated_problem
from medreasoner_monai.dicom.pixel_bytes import PixelBytes
from medreasoner_monai.errors import DicomError

LARGEST_FRAME = 1 << 30
"""Bytes that one decoded frame may have; larger ones are headers that lie, or slides that nobody reads in one piece."""
_UNCOMPRESSED = {
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
}
_OPENJPEG = "pylibjpeg"
"""Asked for JPEG 2000 only, which pylibjpeg-openjpeg reads; what another plug-in of pylibjpeg reads is not known."""
_SAFE = {"pillow", "pyjpegls", "pydicom", _OPENJPEG}
"""Decoders that raise on damaged frames; GDCM may end the process, and of others that is not known."""
_UID = re.compile(r"[0-9.]{1,64}")
_SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1}
_OPTIONS = {
    "Rows": "rows",
    "Columns": "columns",
    "SamplesPerPixel": "samples_per_pixel",
    "BitsAllocated": "bits_allocated",
    "BitsStored": "bits_stored",
    "PhotometricInterpretation": "photometric_interpretation",
    "PixelRepresentation": "pixel_representation",
    "PlanarConfiguration": "planar_configuration",
}


@dataclass(frozen=True)
class PixelCheck:
    """What a look at the pixel data found: why they cannot be used, and what is odd."""

    problem: str | None = None
    notes: tuple[str, ...] = ()


def frames(header: Dataset) -> int:
    """Number of frames; at least 1."""
    return max(int(header.get("NumberOfFrames") or 1), 1)


def name(dataset: Dataset) -> str:
    """What names the data set in a message: its file's path, else its SOP Instance UID's end."""
    path = getattr(dataset, "filename", None)
    return str(path) if path else instance_name(dataset)


def instance_name(dataset: Dataset) -> str:
    """Names a data set without a file."""
    uid_ = str(dataset.get("SOPInstanceUID") or "")
    return f"instance …{uid_[-12:]}" if _UID.fullmatch(uid_) else "a data set without a SOP Instance UID"


def frame_bytes(header: Dataset) -> float:
    """Bytes of one uncompressed frame (PS3.5 8.1.1); 0 where the header does not tell, a fraction with single bits."""
    bits = int(header.get("BitsAllocated") or 0) * int(header.get("SamplesPerPixel") or 1)
    if header.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    return int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * bits / 8


def check_pixels(header: Dataset, pixels: PixelBytes | None, source: str) -> PixelCheck:
    """Hold the pixel data's length and parts against the header, without decoding them.

    Parameters
    ----------
    header:
        The data set; its counts are numbers.
    pixels:
        From :func:`locate_pixels`.
    source:
        Names the instance in a message.
    """
    syntax = header.file_meta.TransferSyntaxUID
    encapsulated = syntax not in _UNCOMPRESSED and syntax.is_transfer_syntax and syntax.is_encapsulated
    if pixels is None or (syntax in _UNCOMPRESSED if pixels.undefined else encapsulated):
        return PixelCheck(f"{source}: the pixel data are not stored as its transfer syntax asks; copy the file again")
    notes = tuple(_count_notes(header))
    if pixels.undefined:
        return PixelCheck(encapsulated_problem(header, pixels, source, frames(header)), notes)
    problem, padding = _length_problem(header, pixels, source)
    return PixelCheck(problem, notes + padding)


def _count_notes(header: Dataset) -> Iterator[str]:
    stored, high = header.get("BitsStored"), header.get("HighBit")
    if stored is not None and high is not None and int(high) != int(stored) - 1:
        yield "HighBit does not fit BitsStored, the lowest bits are taken"
    if header.get("NumberOfFrames") is not None and int(header.NumberOfFrames or 0) < 1:
        yield "NumberOfFrames is not positive, taken as 1"


def _length_problem(header: Dataset, pixels: PixelBytes, source: str) -> tuple[str | None, tuple[str, ...]]:
    expected = ceil(frame_bytes(header) * frames(header))
    missing = max(pixels.length, expected) - pixels.available
    if missing > 0:
        return f"{source}: truncated, {missing} bytes of pixel data are missing; copy the file again", ()
    excess = pixels.available - expected
    if excess <= expected % 2:
        return None, ()
    if excess < frame_bytes(header) and not any(_tail(pixels, excess)):
        return None, ("pixel data end in padding, left out",)
    problem = (
        f"{source}: {excess} bytes of pixel data more than Rows, Columns and NumberOfFrames describe; "
        "the header is wrong, export the file again"
    )
    return problem, ()


def _tail(pixels: PixelBytes, length: int) -> bytes:
    with pixels.open() as f:
        f.seek(pixels.available - length, io.SEEK_CUR)
        return f.read(length)


def decode_frame(dataset: Dataset, frame: int) -> NDArray[Any]:
    """Stored values of one frame: ``(rows, columns)``, or ``(rows, columns, 3)`` as RGB.

    Parameters
    ----------
    dataset:
        With pixel data, in memory or still in the file.
    frame:
        From 0.

    Raises
    ------
    DicomError
        If it cannot be decoded; the message names the transfer syntax and what to do.
    """
    try:
        return _decode(dataset, frame)
    except DicomError:
        raise
    except Exception as error:  # each decoder has its own exceptions
        syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
        known = syntax if isinstance(syntax, uid.UID) and syntax.is_valid else None
        if known in _UNCOMPRESSED:
            remedy = "the file is damaged; copy it again"
        elif isinstance(error, NotImplementedError):
            remedy = "there is no decoder for it here; export the series uncompressed"
        else:
            remedy = "the frame is damaged or not what the header says; copy the file again, or export it uncompressed"
        what = f"{known.name} ({known})" if known else "an unknown transfer syntax"
        if known and known.is_private:
            what = f"the private transfer syntax {known}"
        raise DicomError(
            f"{name(dataset)}: frame {frame} in {what} cannot be decoded ({type(error).__name__}); {remedy}"
        ) from error


def _decode(dataset: Dataset, frame: int) -> NDArray[Any]:
    syntax = dataset.file_meta.TransferSyntaxUID
    _check_size(dataset, frame)
    decoder = get_decoder(syntax)
    options: dict[str, Any] = {
        option: dataset.get(keyword) for keyword, option in _OPTIONS.items() if keyword in dataset
    }
    options |= {"pixel_keyword": "PixelData", "number_of_frames": frames(dataset)}
    if dataset.get("PlanarConfiguration") is None:
        options.pop("planar_configuration", None)
    with _source(dataset) as (source, options["pixel_vr"]):
        if not syntax.is_encapsulated:
            return decoder.as_array(source, index=frame, **options)[0]
        one = get_frame(source, frame, number_of_frames=frames(dataset), extended_offsets=_offsets(dataset))
    if wrong := fault(one, syntax, int(dataset.Rows), int(dataset.Columns), int(frame_bytes(dataset))):
        raise DicomError(f"{name(dataset)}: frame {frame} is {wrong}; copy the file again")
    options["number_of_frames"] = 1
    plugin = _plugin(syntax, one, dataset)
    if plugin in _SAFE:
        return decoder.as_array(encapsulate([one]), index=0, decoding_plugin=plugin, **options)[0]
    plain = {key: str(value) if isinstance(value, str) else int(value) for key, value in options.items()}
    return isolated.decode(one, str(syntax), plain, plugin)


def _plugin(syntax: uid.UID, frame: bytes, dataset: Dataset) -> str:
    """The decoder to use: one that survives damaged frames wherever one can read the syntax.

    A second decoder is not tried on what the first one refuses: it may fill up what is missing and say nothing.
    """
    deep = precision(frame) > 8
    if syntax == uid.JPEGExtended12Bit and deep and int(dataset.SamplesPerPixel) == 1:
        return isolated.GDCM_12_BIT
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit) and not deep:
        wanted = ["pillow"]
    elif syntax in uid.JPEG2000TransferSyntaxes:
        # Pillow, where it has to do, scales colour of more than 8 bits down.
        wanted = [_OPENJPEG, *([] if deep and int(dataset.SamplesPerPixel) > 1 else ["pillow"])]
    elif syntax in uid.JPEGLSTransferSyntaxes:
        wanted = ["pyjpegls"]
    elif syntax == uid.RLELossless:
        wanted = ["pydicom"]
    else:
        wanted = ["gdcm"]
    available = get_decoder(syntax).available_plugins
    return next((p for p in wanted if p in available), "gdcm")


def _check_size(dataset: Dataset, frame: int) -> None:
    if frame_bytes(dataset) > LARGEST_FRAME:
        raise DicomError(
            f"{name(dataset)}: a frame of {dataset.Columns} x {dataset.Rows} pixels is more than this reads at once; "
            "export it smaller, or check the header"
        )
    if not 0 <= frame < frames(dataset):
        raise DicomError(f"{name(dataset)}: frame {frame} is asked for, but there are {frames(dataset)}, from 0")
    kind = str(dataset.PhotometricInterpretation)
    if int(dataset.SamplesPerPixel) != _SAMPLES.get(kind, 3):
        raise DicomError(
            f"{name(dataset)}: SamplesPerPixel does not fit PhotometricInterpretation; export the file again"
        )


def _offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    table, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    return (table, lengths) if table and lengths else None


@contextmanager
def _source(dataset: Dataset) -> Iterator[tuple[BinaryIO, str]]:
    """The pixel data as a stream at their start, and their VR."""
    element: DataElement | RawDataElement = dataset.get_item("PixelData", keep_deferred=True)
    if isinstance(element, RawDataElement) and element.value is None:
        with Path(str(dataset.filename)).open("rb") as f:
            f.seek(element.value_tell)
            yield f, str(element.VR or "OW")
    else:
        value = cast(Any, element.value)
        yield (value if hasattr(value, "read") else io.BytesIO(value)), str(element.VR or "OW")
