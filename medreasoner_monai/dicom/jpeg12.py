"""JPEG Extended with 12 bits a sample (Process 4), by GDCM's own decoder.

pydicom's plug-in for GDCM refuses every such frame, Pillow reads 8 bits only, and the decoder for pylibjpeg is under
the GPL. GDCM carries a libjpeg for 12 bits, whose values are DCMTK's to the last bit (the tests compare them). It may
end the process on a damaged frame, so it runs in :mod:`~medreasoner_monai.dicom.isolated`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PIXEL_DATA = (0x7FE0, 0x0010)


def decode_jpeg12(frame: bytes, rows: int, columns: int, photometric: str) -> NDArray[np.uint16]:
    """Stored values ``(rows, columns)`` of one grey frame.

    Parameters
    ----------
    frame:
        The codestream.
    photometric:
        ``MONOCHROME1`` or ``MONOCHROME2``.

    Raises
    ------
    ValueError
        If GDCM cannot decode it, or gives another size.
    """
    import gdcm  # type: ignore[import-untyped]

    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, 0))
    kind = gdcm.PhotometricInterpretation.GetPIType(photometric)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(frame)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(*_PIXEL_DATA))
    element.SetValue(fragments.__ref__())
    image.SetDataElement(element)
    buffer = image.GetBuffer()
    if buffer is None:
        raise ValueError("GDCM cannot decode the frame")
    # GDCM gives bytes as text.
    values = np.frombuffer(buffer.encode("utf-8", "surrogateescape"), dtype="=u2")
    if values.size != rows * columns:
        raise ValueError("GDCM decoded a picture of another size")
    return values.reshape(rows, columns)
