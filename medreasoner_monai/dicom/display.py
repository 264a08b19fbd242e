"""A frame as a picture: stored values -> modality rescale -> VOI transformation -> uint8, by a rendering rule.

The steps and their order are PS3.3 C.11 (modality LUT, VOI LUT, presentation). Nothing is ever drawn into the picture,
and its pixels are the stored ones: pixels that are not square in the patient are not made so, because masks, boxes and
points are in the stored grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from medreasoner_monai.dicom.pixels import decode_frame, name
from medreasoner_monai.dicom.rules import AS_STORED, GreyFrame, Image, Rule, VoiTransform
from medreasoner_monai.dicom.values import frame_value
from medreasoner_monai.dicom.windows import Values, has_table, look_up, padding, window_function, windows
from medreasoner_monai.errors import DicomError

_RESCALE = "PixelValueTransformationSequence"


@dataclass(frozen=True, eq=False)
class Rendered:
    """A frame as a rule shows it: the picture, what was done to its values, and those values (None for colour)."""

    pixels: Image
    voi: VoiTransform
    grey: GreyFrame | None = None


def render_frame(dataset: Dataset, frame: int = 0, rule: Rule = AS_STORED) -> tuple[Image, VoiTransform]:
    """One frame as a rule shows it, and what was done to its values.

    Parameters
    ----------
    dataset:
        With pixel data, compressed or not.
    frame:
        From 0; 0 for a single-frame image.
    rule:
        By default as a viewer shows it at first.

    Returns
    -------
    uint8, ``(rows, columns)`` grey (bright is bright, MONOCHROME1 included) or ``(rows, columns, 3)`` RGB.

    Raises
    ------
    DicomError
        As :func:`render`.
    """
    made = render(dataset, frame, rule)
    return made.pixels, made.voi


def render(dataset: Dataset, frame: int = 0, rule: Rule = AS_STORED) -> Rendered:
    """As :func:`render_frame`, with the values that were shown.

    Raises
    ------
    DicomError
        If the pixel data cannot be decoded, with the transfer syntax and the package to install; if there is no such
        frame; if the rule is not made for it; if the attributes that say how to show it are damaged.
    """
    stored = decode_frame(dataset, frame)
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
                coloured = apply_color_lut(stored, dataset)[..., :3]
                return Rendered(_to_bytes(coloured, _palette_bits(dataset, coloured)), VoiTransform("none"))
            if stored.ndim == 3:
                return Rendered(_to_bytes(stored, int(dataset.BitsStored)), VoiTransform("none"))
            grey = _grey_frame(dataset, frame, stored)
            return Rendered(*rule.render(grey), grey)
    except DicomError as error:
        raise DicomError(f"{name(dataset)}: {error}") from None
    except Exception as error:  # pydicom raises many kinds on damaged elements
        raise DicomError(
            f"{name(dataset)}: the attributes that say how to show it are damaged ({type(error).__name__}); "
            "export the series again"
        ) from error


def _grey_frame(dataset: Dataset, frame: int, stored: NDArray[Any]) -> GreyFrame:
    values = modality_values(dataset, frame, stored)
    if not np.isfinite(values).all():
        raise ValueError("values that are no numbers")
    table = None
    if has_table(dataset):
        words = ">u2" if dataset.original_encoding[1] is False else "<u2"
        table = partial(look_up, dataset.VOILUTSequence[0], words=words)
    return GreyFrame(
        values,
        str(dataset.get("Modality") or ""),
        tuple(windows(dataset, frame)),
        window_function(dataset, frame),
        table,
        padding(dataset, stored),
        str(dataset.PhotometricInterpretation) == "MONOCHROME1",
    )


def modality_values(dataset: Dataset, frame: int, stored: NDArray[Any]) -> Values:
    """Stored values after the modality LUT or the rescale of the frame (PS3.3 C.11.1), of any shape."""
    slope = frame_value(dataset, frame, _RESCALE, "RescaleSlope")
    intercept = frame_value(dataset, frame, _RESCALE, "RescaleIntercept")
    if dataset.get("ModalityLUTSequence"):
        return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    # As text, so that several values where one belongs are refused and not one of them taken.
    return stored * float(str(slope if slope is not None else 1)) + float(
        str(intercept if intercept is not None else 0)
    )


def _palette_bits(dataset: Dataset, coloured: NDArray[Any]) -> int:
    """Entries of 8 bits may be stored in 16-bit words, in the low byte or in both (PS3.3 C.7.6.3.1.5)."""
    if coloured.dtype == np.uint8:
        return 8
    low = int(dataset.RedPaletteColorLookupTableDescriptor[2]) == 8 and int(coloured.max(initial=0)) <= 255
    return 8 if low else 16


def _to_bytes(values: NDArray[Any], bits: int) -> Image:
    """Colour samples of ``bits`` bits as uint8."""
    if bits == 8:
        return np.ascontiguousarray(values, dtype=np.uint8)
    return np.asarray(np.round(values.astype(np.float64) * (255 / (2**bits - 1))), dtype=np.uint8)
