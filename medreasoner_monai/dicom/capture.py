"""The picture of an answer out as a Secondary Capture (PS3.3 A.8.1), tied to the slices that it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from pydicom import Dataset

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.image_library import references
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.text import short
from medreasoner_monai.dicom.uids import PLACEHOLDER, identify
from medreasoner_monai.errors import DicomError
from medreasoner_monai.task.findings import Origin

if TYPE_CHECKING:
    from highdicom.sc import SCImage

SERIES_BASE = 4_000_000
_SERIES_DESCRIPTION = "Research use only: picture of an answered question"
_DERIVATION = (
    "Slices as displayed, resampled, with the model's region, box and points drawn on them and question, reasoning and "
    "notice written below each"
)
_SOURCE_IMAGE = ("121322", "DCM", "Source image for image processing operation")
_LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def build_capture(
    series: Series,
    picture: Image.Image,
    *,
    keys: Sequence[int],
    patient_orientation: tuple[str, str] | None = None,
    origin: Origin | None = None,
    description: str = "Answer drawn on its slice",
) -> SCImage:
    """A picture as an RGB Secondary Capture that refers to every slice it shows.

    Burned In Annotation is YES: the picture has text in it.

    Parameters
    ----------
    series:
        What the question was asked of.
    picture:
        As :func:`~medreasoner_monai.dicom.overlay.overlay` draws it; it must not show who the patient is.
    keys:
        The slices that are shown, counted from 0 in series order; one that is shown twice counts once.
    patient_orientation:
        Where the picture's rows point (to the right) and its columns (downwards), as PS3.3 C.7.6.1.1.1 writes it, such
        as ``("L", "P")``; None where it is not known, or not the same for all that is shown.
    origin:
        What made the answer, for the equipment that contributed.
    description:
        Image Comments begin with it; the research-use notice follows.

    Returns
    -------
    The data set, with UIDs that follow from its content (:mod:`~medreasoner_monai.dicom.uids`);
    :func:`~medreasoner_monai.dicom.saving.save` writes it.

    Raises
    ------
    DicomError
        If the picture is too large for DICOM, it shows no slice, the series has no such slice, or nothing can refer to
        it.
    """
    if not keys:
        raise DicomError("a picture shows at least one slice; give its number")
    for key in keys:
        if not 0 <= key < len(series):
            raise DicomError(
                f"the picture is said to show slice {key}, but the series has {len(series)}, counted from 0"
            )
    if max(picture.size) > 65535:
        raise DicomError(f"the picture is {picture.width} x {picture.height} pixels, DICOM holds up to 65535 each way")
    import highdicom as hd

    header = series.headers[series.locate(keys[0])[0]]
    try:
        image = hd.sc.SCImage.from_ref_dataset(
            ref_dataset=header,
            pixel_array=np.asarray(picture.convert("RGB")),
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            series_instance_uid=PLACEHOLDER,
            series_number=provenance.series_number(series, SERIES_BASE),
            sop_instance_uid=PLACEHOLDER,
            instance_number=1,
            manufacturer=provenance.MANUFACTURER,
            patient_orientation=("L", "P"),  # asked for, and of single letters alone; what is true follows
            series_description=_SERIES_DESCRIPTION,
            specific_character_set=provenance.UTF_8,
            contributing_equipment=provenance.contributing_equipment(origin) if origin else None,
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise DicomError(
            f"{series.sources[series.locate(keys[0])[0]].name}: no picture can refer to this image "
            f"({type(error).__name__}); export it again, complete with its study and series UIDs"
        ) from error
    # Both are type 2C, and empty where unknown; a page may show both sides of the body.
    for keyword, value in (("PatientOrientation", list(patient_orientation or ()) or None), ("Laterality", None)):
        setattr(image, keyword, value)
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "WSD"
    image.BurnedInAnnotation = "YES"
    image.DerivationDescription = short(_DERIVATION, 1024)
    image.ImageComments = short(f"{description}. {RESEARCH_USE}", 10240)
    _refer(image, series, keys)
    for keyword in _LOSSY:
        if header.get("LossyImageCompression") == "01" and header.get(keyword) is not None:
            setattr(image, keyword, header[keyword].value)
    identify(image, "capture")
    return image


def _refer(image: Dataset, series: Series, keys: Sequence[int]) -> None:
    """The sources as the derivation's (PS3.3 C.7.6.1.1.4), and by their series (C.12.2)."""
    import highdicom as hd

    derived, referenced = [], []
    for source in references(series, keys):
        reference = Dataset()
        reference.ReferencedSOPClassUID = source.sop_class_uid
        reference.ReferencedSOPInstanceUID = source.sop_instance_uid
        referenced.append(reference)
        item = Dataset()
        item.update(reference)
        if source.frame_numbers:
            item.ReferencedFrameNumber = source.frame_numbers
        item.PurposeOfReferenceCodeSequence = [hd.sr.CodedConcept(*_SOURCE_IMAGE)]
        item.SpatialLocationsPreserved = "NO"
        derived.append(item)
    image.SourceImageSequence = derived
    same_series = Dataset()
    same_series.SeriesInstanceUID = series.headers[0].SeriesInstanceUID
    same_series.ReferencedInstanceSequence = referenced
    image.ReferencedSeriesSequence = [same_series]
