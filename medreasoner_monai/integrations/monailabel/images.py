"""From what a datastore hands to an inference task to the DICOM files it stands for."""

from __future__ import annotations

from pathlib import Path

from medreasoner_monai.errors import InputError

VOLUMES = (".nii.gz", ".nii", ".nrrd")


def dicom_path(image: object) -> Path:
    """The DICOM folder or file of a request's image.

    A DICOMweb datastore keeps ``<series uid>/`` with the files as they were retrieved and, for its viewers, a
    ``<series uid>.nii.gz`` made from them. It hands over the latter, which has lost UIDs and window: the folder beside
    it is what is read.

    Parameters
    ----------
    image:
        ``request["image"]``: a path as text.

    Raises
    ------
    InputError
        If it is no path, nothing is there, or it is a volume that no DICOM files lie beside.
    """
    if not isinstance(image, str) or not image:
        raise InputError("the image must be a DICOM series: an image of the datastore, or a path on the server")
    path = Path(image)
    suffix = next((s for s in VOLUMES if path.name.lower().endswith(s)), None)
    if suffix is not None:
        folder = path.with_name(path.name[: -len(suffix)])
        if not folder.is_dir():
            raise InputError(
                f"{path.name} is not a DICOM file: masks, reports and provenance refer to DICOM images. Serve the "
                "series from a DICOMweb archive, or put its DICOM files into a folder below the studies"
            )
        return folder
    if not path.exists():
        raise InputError(f"the image {path.name!r} is neither in the datastore nor a path on the server")
    return path
