"""The picture of an answer out as a Secondary Capture (PS3.3 A.8.1), tied to the slice that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydicom import Dataset

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.image_library import ImageReference, references
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.text import short
from medreasoner_monai.errors import DicomError

if TYPE_CHECKING:
    from highdicom.sc import SCImage

SERIES_BASE = 4_000_000
_SERIES_DESCRIPTION = "Research use only: picture of an answered question"
_DERIVATION = (
    "Slice as displayed, resampled, with the model's region, box and points drawn on it and question, reasoning and "
    "notice written below it"
)
_SOURCE_IMAGE = ("121322", "DCM", "Source image for image processing operation")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def build_capture(
    series: Series, picture: Image.Image, *, key: int, description: str = "Answer drawn on its slice"
) -> SCImage:
    """A picture as an RGB Secondary Capture that refers to the slice it shows.

    Burned In Annotation is YES: the picture has text in it.

    Parameters
    ----------
    series:
        What the question was asked of.
    picture:
        As :func:`~medreasoner_monai.dicom.overlay.overlay` draws it; it must not show who the patient is.
    key:
        The slice that is shown, counted from 0 in series order.
    description:
        Image Comments begin with it; the research-use notice follows.

    Returns
    -------
    The data set, with UIDs of its own; :func:`~medreasoner_monai.dicom.saving.save` writes it.

    Raises
    ------
    DicomError
        If the picture is too large for DICOM, the series has no such slice, or nothing can refer to it.
    """
    if not 0 <= key < len(series):
        raise DicomError(f"the picture is said to show slice {key}, but the series has {len(series)}, counted from 0")
    if max(picture.size) > 65535:
        raise DicomError(f"the picture is {picture.width} x {picture.height} pixels, DICOM holds up to 65535 each way")
    import highdicom as hd

    header = series.headers[series.locate(key)[0]]
    try:
        image = hd.sc.SCImage.from_ref_dataset(
            ref_dataset=header,
            pixel_array=np.asarray(picture.convert("RGB")),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            series_instance_uid=provenance.new_uid(),
            series_number=provenance.series_number(series, SERIES_BASE),
            sop_instance_uid=provenance.new_uid(),
            instance_number=1,
            manufacturer=provenance.MANUFACTURER,
            patient_orientation=("L", "P"),  # asked for; what is true follows
            series_description=_SERIES_DESCRIPTION,
            specific_character_set=provenance.UTF_8,
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise DicomError(
            f"{series.sources[series.locate(key)[0]].name}: no picture can refer to this image "
            f"({type(error).__name__}); export it again, complete with its study and series UIDs"
        ) from error
    # Type 2C, and unknown: the picture is a page with a caption.
    for keyword in ("PatientOrientation", "Laterality"):
        setattr(image, keyword, None)
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "WSD"
    image.BurnedInAnnotation = "YES"
    image.DerivationDescription = short(_DERIVATION, 1024)
    image.ImageComments = short(f"{description}. {RESEARCH_USE}", 10240)
    _refer(image, header, references(series, [key])[0])
    for keyword in _LOSSY:
        if header.get("LossyImageCompression") == "01" and header.get(keyword) is not None:
            setattr(image, keyword, header[keyword].value)
    return image


def _refer(image: Dataset, header: Dataset, source: ImageReference) -> None:
    """The source as the derivation's (PS3.3 C.7.6.1.1.4), and by its series (C.12.2)."""
    import highdicom as hd

    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
        source.sop_class_uid,
        source.sop_instance_uid,
    )
    derived = Dataset()
    derived.update(reference)
    if source.frame_numbers:
        derived.ReferencedFrameNumber = source.frame_numbers
    derived.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept(*_SOURCE_IMAGE)]
    derived.SpatialLocationsPreserved = "NO"
    image.SourceImageSequence = [derived]
    same_series = Dataset()
    same_series.SeriesInstanceUID, same_series.ReferencedInstanceSequence = header.SeriesInstanceUID, [reference]
    image.ReferencedSeriesSequence = [same_series]
