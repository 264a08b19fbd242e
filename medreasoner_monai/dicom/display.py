"""A slice as a picture: stored values -> modality rescale -> VOI window -> uint8, as a viewer would show it.

The steps and their order are PS3.3 C.11 (modality LUT, VOI LUT, presentation). Nothing is ever drawn into the picture,
and its pixels are the stored ones: pixels that are not square in the patient are not made so, because masks, boxes and
points are in the stored grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from medreasoner_monai.dicom.pixels import decode_frame, name
from medreasoner_monai.dicom.placement import measure
from medreasoner_monai.dicom.privacy import private
from medreasoner_monai.dicom.windows import (
    CT_WINDOW,
    Values,
    Window,
    apply_window,
    has_table,
    look_up,
    padding,
    stretch,
    window_function,
    windows,
)
from medreasoner_monai.errors import DicomError

Image = NDArray[np.uint8]
_RESCALE = "PixelValueTransformationSequence"


@private()
def render_slice(dataset: Dataset, frame: int = 0, window: int | Window | None = None) -> Image:
    """One frame as it would be shown.

    The VOI LUT of the file is used, else its first window; without one, CT is shown at centre 40, width 400 HU, and
    anything else between its 1st and 99th percentile. Padding is shown black.

    Parameters
    ----------
    dataset:
        With pixel data, compressed or not.
    frame:
        From 0; 0 for a single-frame image.
    window:
        Another choice: the number (from 0) of one of :func:`~medreasoner_monai.dicom.windows.windows`, or a centre and
        a width in the units of the modality. Colour images have no window.

    Returns
    -------
    uint8, ``(rows, columns)`` grey (bright is bright, MONOCHROME1 included) or ``(rows, columns, 3)`` RGB.

    Raises
    ------
    DicomError
        If the pixel data cannot be decoded, with the transfer syntax and the package to install; if there is no such
        frame or window; if the attributes that say how to show it are damaged.
    """
    stored = decode_frame(dataset, frame)
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            return _show(dataset, frame, stored, window)
    except DicomError:
        raise
    except Exception as error:  # pydicom raises many kinds on damaged elements
        raise DicomError(
            f"{name(dataset)}: the attributes that say how to show it are damaged ({type(error).__name__}); "
            "export the series again"
        ) from error


def _show(dataset: Dataset, frame: int, stored: NDArray[Any], window: int | Window | None) -> Image:
    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        coloured = apply_color_lut(stored, dataset)[..., :3]
        return _to_bytes(coloured, _palette_bits(dataset, coloured))
    if stored.ndim == 3:
        return _to_bytes(stored, int(dataset.BitsStored))
    values = modality_values(dataset, frame, stored)
    if not np.isfinite(values).all():
        raise ValueError("values that are no numbers")
    padded = padding(dataset, stored)
    shown = _window(dataset, frame, values, padded, window)
    if kind == "MONOCHROME1":
        shown = 1 - shown
    if padded is not None:
        shown = np.where(padded, 0, shown)
    return np.round(shown * 255).astype(np.uint8)


def _window(
    dataset: Dataset, frame: int, values: Values, padded: NDArray[np.bool_] | None, window: int | Window | None
) -> Values:
    """Values in [0, 1], ``(rows, columns)``."""
    if window is None and has_table(dataset):
        big_endian = dataset.original_encoding[1] is False
        return look_up(dataset.VOILUTSequence[0], values, ">u2" if big_endian else "<u2")
    chosen = _chosen(dataset, frame, window)
    if chosen is not None:
        return apply_window(values, chosen, window_function(dataset, frame))
    if dataset.get("Modality") == "CT":
        return apply_window(values, CT_WINDOW, "LINEAR")
    return stretch(values, values if padded is None else values[~padded])


def _chosen(dataset: Dataset, frame: int, window: int | Window | None) -> Window | None:
    if isinstance(window, tuple):
        if not (np.isfinite(window).all() and window[1] > 0):
            raise DicomError(f"a window is a centre and a positive width; got {window}")
        return window
    known = windows(dataset, frame)
    if window is None:
        return known[0] if known else None
    if not 0 <= window < len(known):
        raise DicomError(f"{name(dataset)}: window {window} is asked for, but the file has {len(known)}, from 0")
    return known[window]


def modality_values(dataset: Dataset, frame: int, stored: NDArray[Any]) -> Values:
    """Stored values after the modality LUT or the rescale of the frame (PS3.3 C.11.1), of any shape."""
    slope = measure(dataset, frame, _RESCALE, "RescaleSlope")
    intercept = measure(dataset, frame, _RESCALE, "RescaleIntercept")
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
