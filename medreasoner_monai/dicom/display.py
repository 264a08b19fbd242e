"""A slice as a picture: stored values -> modality rescale -> VOI window -> uint8, as a viewer would show it.

The steps and their order are PS3.3 C.11 (modality LUT, VOI LUT, presentation). Nothing is ever drawn into the picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import pixel_array

from medreasoner_monai.dicom.privacy import private
from medreasoner_monai.errors import DicomError

Image = NDArray[np.uint8]
Values = NDArray[np.float64]
_UNCOMPRESSED = {
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
}
_CT_WINDOW = (40.0, 400.0)
_PERCENTILES = (1.0, 99.0)


@private()
def render_slice(dataset: Dataset, frame: int = 0) -> Image:
    """One frame as it would be shown.

    The first window (or VOI LUT) of the file is used; without one, CT is shown at centre 40, width 400 HU, and anything
    else between its 1st and 99th percentile.

    Parameters
    ----------
    dataset:
        With pixel data, compressed or not.
    frame:
        From 0; 0 for a single-frame image.

    Returns
    -------
    uint8, ``(rows, columns)`` grey (bright is bright, MONOCHROME1 included) or ``(rows, columns, 3)`` RGB.

    Raises
    ------
    DicomError
        If the pixel data cannot be decoded; the message names the transfer syntax and the package to install.
    """
    stored = _decode(dataset, frame)
    try:
        return _show(dataset, frame, stored)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, NotImplementedError) as error:
        raise DicomError(
            f"{_name(dataset)}: the attributes that say how to show it are damaged ({type(error).__name__}); "
            "export the series again"
        ) from error


def _show(dataset: Dataset, frame: int, stored: NDArray[Any]) -> Image:
    kind = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if kind == "PALETTE COLOR":
        return _to_bytes(apply_color_lut(stored, dataset)[..., :3], 16)
    if stored.ndim == 3:
        return _to_bytes(stored, int(dataset.BitsStored))
    shown = _window(dataset, frame, stored)
    if kind == "MONOCHROME1":
        shown = 1 - shown
    return np.round(shown * 255).astype(np.uint8)


def _decode(dataset: Dataset, frame: int) -> NDArray[Any]:
    try:
        return pixel_array(dataset, index=frame)
    except Exception as error:  # each decoder has its own exceptions
        syntax = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
        name = f"{syntax.name} ({syntax})" if syntax else "an unknown transfer syntax"
        if syntax in _UNCOMPRESSED:
            remedy = "the file is damaged; copy it again"
        else:
            remedy = (
                "install a decoder for it (python-gdcm; pylibjpeg with pylibjpeg-libjpeg for 12-bit JPEG) "
                "or export the series uncompressed"
            )
        raise DicomError(
            f"{_name(dataset)}: frame {frame} in {name} cannot be decoded ({type(error).__name__}); {remedy}"
        ) from error


def _name(dataset: Dataset) -> str:
    return str(getattr(dataset, "filename", None) or "the data set")


def _window(dataset: Dataset, frame: int, stored: NDArray[Any]) -> Values:
    """Values in [0, 1], ``(rows, columns)``."""
    values = _rescale(dataset, frame, stored)
    if dataset.get("VOILUTSequence") and "LUTData" in dataset.VOILUTSequence[0]:
        big_endian = dataset.original_encoding[1] is False
        return _look_up(dataset.VOILUTSequence[0], values, ">u2" if big_endian else "<u2")
    voi = _group(dataset, frame, "FrameVOILUTSequence") or dataset
    centre, width = _first(voi.get("WindowCenter")), _first(voi.get("WindowWidth"))
    if centre is not None and width is not None and width > 0:
        return _apply_window(values, centre, width, str(voi.get("VOILUTFunction") or "LINEAR"))
    if dataset.get("Modality") == "CT":
        return _apply_window(values, *_CT_WINDOW, "LINEAR")
    return _stretch(dataset, stored, values)


def _look_up(item: Dataset, values: Values, words: str) -> Values:
    """PS3.3 C.11.2.1.1; 8-bit entries may be stored in bytes or in 16-bit words."""
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        table = np.frombuffer(data, words if len(data) >= 2 * (entries or 2**16) else np.uint8)
    else:
        table = np.asarray(data)
    index = np.clip(np.round(values).astype(np.int64) - first, 0, len(table) - 1)
    return np.asarray(np.clip(table[index] / (2**bits - 1), 0, 1))


def _apply_window(values: Values, centre: float, width: float, function: str) -> Values:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to [0, 1]."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1))
    # Width 1 is a threshold: the formula's divisor would be zero.
    return np.asarray(np.clip((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1))


def _stretch(dataset: Dataset, stored: NDArray[Any], values: Values) -> Values:
    padding = dataset.get("PixelPaddingValue")
    inside = values[stored != padding] if padding is not None else values
    low, high = np.percentile(inside if inside.size else values, _PERCENTILES)
    if high <= low:
        low, high = float(values.min()), float(max(values.max(), values.min() + 1))
    return np.asarray(np.clip((values - low) / (high - low), 0, 1))


def _rescale(dataset: Dataset, frame: int, stored: NDArray[Any]) -> Values:
    item = _group(dataset, frame, "PixelValueTransformationSequence")
    if item is not None:
        return stored * float(item.get("RescaleSlope", 1)) + float(item.get("RescaleIntercept", 0))
    return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)


def _group(dataset: Dataset, frame: int, name: str) -> Dataset | None:
    """The item of a functional group, of the frame or shared by all (PS3.3 C.7.6.16)."""
    for groups, index in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        items = dataset.get(groups) or []
        if index < len(items) and items[index].get(name):
            return items[index][name].value[0]
    return None


def _first(value: object) -> float | None:
    if isinstance(value, MultiValue | list):
        value = value[0] if len(value) else None
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _to_bytes(values: NDArray[Any], bits: int) -> Image:
    """Colour samples of ``bits`` bits as uint8."""
    if bits == 8:
        return np.ascontiguousarray(values, dtype=np.uint8)
    return np.asarray(np.round(values.astype(np.float64) * (255 / (2**bits - 1))), dtype=np.uint8)
