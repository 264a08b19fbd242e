"""Series from a DICOMweb archive (PS3.18): headers from its metadata, an instance when a slice of it is looked at."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from medreasoner_monai.dicom.elements import decode
from medreasoner_monai.dicom.instance import Instance, take_pixels
from medreasoner_monai.dicom.memory import from_dataset
from medreasoner_monai.dicom.pixels import frames, instance_name
from medreasoner_monai.dicom.series import Found, found_among
from medreasoner_monai.dicom.set_aside import read_each
from medreasoner_monai.errors import DicomError

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

MOST_FRAMES = 100_000
"""Of one instance; metadata that claim more are not counted out."""
_KEPT = 4
_ANY_SYNTAX = (("application/dicom", "*"),)


def open_dicomweb(client: DICOMwebClient, study_uid: str, series_uid: str | None = None) -> Found:
    """Every image series of a study in an archive, by its metadata; no pixels are fetched.

    Parameters
    ----------
    client:
        With the archive's address and whatever it takes to be let in.
    study_uid:
        Study Instance UID.
    series_uid:
        Series Instance UID, where only one is wanted.

    Raises
    ------
    DicomError
        If the archive does not answer, does not have it, or has no images in it; if it answers with another study.
    """
    where = f"study …{study_uid[-12:]} of the archive"
    try:
        if series_uid is None:
            found: list[dict[str, Any]] = client.retrieve_study_metadata(study_uid)
        else:
            found = client.retrieve_series_metadata(study_uid, series_uid)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        raise _refused(where, error) from None
    for keyword, asked in (("StudyInstanceUID", study_uid), ("SeriesInstanceUID", series_uid)):
        other = sum(asked not in (None, uid) for uid in _uids(found, keyword))
        if other:
            raise DicomError(
                f"{where}: the archive answered with {other} instance(s) of another {keyword} than the one asked for; "
                "nothing of it is used, tell those who run the archive"
            )
    recent = _Recent()
    return found_among(read_each(found, lambda item: _instance(client, recent, study_uid, item)), where)


def _uids(metadata: list[dict[str, Any]], keyword: str) -> list[str]:
    """What each instance's metadata (DICOM JSON, PS3.18 F) give for a UID; those that give none are left out."""
    tag = f"{tag_for_keyword(keyword):08X}"
    values = [(item.get(tag) or {}).get("Value") or [] for item in metadata]
    return [str(value[0]) for value in values if value]


class UnavailableError(DicomError):
    """The archive does not answer, or answers with an error of its own: later it may."""


@dataclass(eq=False)
class _Recent:
    """Instances fetched last, shared by the sources of a study: frames of one instance, slices looked at again."""

    held: OrderedDict[str, Dataset] = field(default_factory=OrderedDict)
    lock: Lock = field(default_factory=Lock)

    def get(self, uid: str) -> Dataset | None:
        with self.lock:
            return self.held.get(uid)

    def put(self, uid: str, dataset: Dataset) -> None:
        with self.lock:
            self.held[uid] = dataset
            while len(self.held) > _KEPT:
                self.held.popitem(last=False)


@dataclass(frozen=True, eq=False)
class WebSource:
    """An instance in an archive."""

    client: DICOMwebClient
    study_uid: str
    series_uid: str
    sop_uid: str
    name: str
    recent: _Recent

    def load(self) -> Dataset:
        """Fetch it as it is stored, or take it from the last few that were fetched.

        Raises
        ------
        DicomError
            If the archive does not give it, or its pixel data are not what its header says.
        """
        known = self.recent.get(self.sop_uid)
        if known is not None:
            return known
        try:
            fetched = self.client.retrieve_instance(self.study_uid, self.series_uid, self.sop_uid, _ANY_SYNTAX)
        except (OSError, ValueError) as error:
            raise _refused(f"{self.name} of the archive", error) from None
        instance = from_dataset(fetched)
        if instance.problem:
            raise DicomError(instance.problem)
        dataset = instance.source.load()
        self.recent.put(self.sop_uid, dataset)
        return dataset


def _instance(client: DICOMwebClient, recent: _Recent, study_uid: str, item: dict[str, Any]) -> Instance:
    """An instance by its metadata; whether its pixels are whole shows when it is fetched."""
    try:
        header = Dataset.from_json(item, bulk_data_uri_handler=lambda _: None)
    except Exception as error:  # pydicom raises many kinds on values that do not fit
        raise DicomError(
            f"study …{study_uid[-12:]} of the archive: its metadata cannot be read ({type(error).__name__}); "
            "fetch the files and give those"
        ) from error
    take_pixels(header)
    name = instance_name(header)
    elements = decode(header, name)
    syntax = header.get("AvailableTransferSyntaxUID")
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax if isinstance(syntax, UID) else ExplicitVRLittleEndian
    problem, several = None, frames(header) > 1
    if frames(header) > MOST_FRAMES:
        problem, header.NumberOfFrames = f"{name}: NumberOfFrames is more than {MOST_FRAMES}; check the header", 1
    series_uid, sop_uid = str(header.get("SeriesInstanceUID") or ""), str(header.get("SOPInstanceUID") or "")
    source = WebSource(client, study_uid, series_uid, sop_uid, name, recent)
    return Instance(source, header, problem, tuple(elements.repairs), tuple(elements.notes), None, several)


def _refused(what: str, error: Exception) -> DicomError:
    """Without the address, which may hold who asked."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    why = f"status {status}" if status else type(error).__name__
    kind = UnavailableError if status is None or status >= 500 else DicomError
    return kind(f"{what} cannot be had ({why}); check the UIDs, the archive's address and the permission to read")
