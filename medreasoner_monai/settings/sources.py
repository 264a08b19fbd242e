"""Settings of sources: where pictures and their masks come from, chosen by ``kind``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from medreasoner_monai.settings.training import Section


def _pattern(text: str) -> str:
    """A regular expression with one group, or an empty text."""
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if text and not groups:
        raise ValueError("a patient pattern needs a group in brackets that encloses the patient, such as ^p(\\d+)")
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class PhantomSettings(Section):
    """Synthetic phantoms with exact masks, drawn on the spot."""

    kind: Literal["phantoms"] = "phantoms"
    name: str = "phantoms"
    sites: tuple[str, ...] = ("ct_abdomen", "chest_xray", "brain_mr")
    categories: tuple[str, ...] | None = Field(None, description="ask about these alone; all when absent")
    train: int = Field(2400, ge=0, description="samples (not phantoms) in the training split")
    val: int = Field(120, ge=0)
    test: int = Field(360, ge=0)
    questions_per_phantom: int = Field(2, ge=1)
    absent_share: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="of the questions, for a target that is not in the picture (see docs/training.md)",
    )
    seed: int = Field(0, ge=0)


class ParquetSettings(Section):
    """Files in the U-MRG schema. ``val`` may be absent: a part of ``train`` then becomes it, by group."""

    kind: Literal["parquet"]
    name: str = ""
    train: Path
    test: Path
    val: Path | None = None
    val_share: float = Field(0.05, gt=0, lt=0.5)


class PictureSettings(Section):
    """What every source of pictures has: a name, a licence, and which of its patients others know by another id."""

    name: str = Field("", description="the folder's or file's name when empty")
    licence: str = Field("", description="what the source itself states when empty")
    aliases: Path | None = Field(
        None, description="CSV with the columns source, patient and group: one patient under several ids"
    )


class PatientSettings(PictureSettings):
    """Sources whose pictures have ids that may name the patient."""

    patient: Pattern | None = Field(
        None,
        description=(
            "regular expression whose first group, searched in a picture's id, is the patient; empty: patients are "
            "unknown; absent: as the source says"
        ),
    )
    patient_table: Path | None = Field(
        None, description="CSV with the columns id and patient (and source, where it is about several)"
    )


class FolderSettings(PatientSettings):
    """A folder of pictures and masks in BiomedParse's naming, or a folder of such folders (each one a source)."""

    kind: Literal["folder"]
    path: Path
    patients: dict[str, Pattern] = Field(
        {}, description="`patient` of single sets in a folder of folders, by the set's name"
    )
    values: dict[int, str] = Field(
        {}, description="names of the values of masks that have their image's name; `structure N` when absent"
    )
    modality: str = Field("", description="of pictures whose names state none")
    site: str = Field("", description="of pictures whose names state none")


class SliceSettings(Section):
    """Which slices of a volume become pictures. A slice that is taken shows all of its targets."""

    take: Literal["largest", "spaced", "all"] = Field(
        "largest",
        description=(
            "for each target: the slice with most of it; that one and others `every_mm` apart; all that show enough"
        ),
    )
    every_mm: float = Field(10, gt=0, description="distance along the volume, for `spaced`")
    min_area_mm2: float = Field(20, ge=0, description="a target for whose sake a slice is taken has at least this area")


class NiftiSettings(PatientSettings):
    """NIfTI or NRRD volumes with label maps. The layout is recognised: see docs/data-sources.md."""

    kind: Literal["nifti"]
    path: Path
    pairs: dict[str, str] = Field(
        {}, description="image to label map (or folder of masks), within `path`; all that is found when empty"
    )
    labels: dict[int, str] = Field(
        {}, description="names of label values; those of dataset.json, or of a segmentation's own segments, when empty"
    )
    modality: str = Field("", description="such as CT or MRI-T2; as dataset.json states it when empty")
    site: str = ""
    channel: int = Field(0, ge=0, description="of images with several, from 0")
    planes: tuple[Literal["acquired", "axial", "coronal", "sagittal"], ...] = Field(
        ("acquired",), min_length=1, description="acquired: across the axis with the largest spacing"
    )
    max_anisotropy: float = Field(
        3, ge=1, description="a plane whose pixels are longer than this times their width is not taken"
    )
    slices: SliceSettings = SliceSettings()
    rule: str = Field("as-stored", description="rendering rule, as for DICOM (docs/dicom-in.md)")
    complete: bool = Field(
        True, description="every named label is outlined wherever it is visible, so that others are known to be absent"
    )


class OutlineSettings(PictureSettings):
    """DICOM images with DICOM-SEG or RTSTRUCT."""

    names: dict[str, str] = Field(
        {},
        description=(
            "segment labels and ROI names (with * and ?) to target names; an empty name leaves the outline out; codes, "
            "else labels, when absent"
        ),
    )
    site: str = Field("", description="as the headers state it when empty")
    rule: str = Field("as-stored", description="rendering rule (docs/dicom-in.md)")
    slices: SliceSettings = SliceSettings()
    complete: bool = Field(
        False, description="every outlined structure is outlined on each slice that shows it: others are absent"
    )
    pseudonym_key_env: str = Field(
        "", description="environment variable with a secret that patients' pseudonyms are keyed by; unkeyed when empty"
    )


class DicomSettings(OutlineSettings):
    """A folder tree of DICOM files: any mix of studies, known by content."""

    kind: Literal["dicom"]
    path: Path


class DicomwebSettings(OutlineSettings):
    """Studies of a DICOMweb archive (PS3.18), by UID or by a query."""

    kind: Literal["dicomweb"]
    url: str = Field(description="root of QIDO-RS and WADO-RS")
    studies: tuple[str, ...] = Field((), description="Study Instance UIDs")
    query: dict[str, str] = Field(
        {}, description="attributes that QIDO-RS matches, such as StudyDate: 20260101-; ModalitiesInStudy: SEG"
    )
    token_env: str = Field("", description="environment variable with a bearer token; none is sent when empty")

    @model_validator(mode="after")
    def _some(self) -> DicomwebSettings:
        if bool(self.studies) == bool(self.query):
            raise ValueError("name either studies or a query")
        return self


class MappedSettings(PatientSettings):
    """Pictures and masks under any names, listed in a CSV or YAML file."""

    kind: Literal["mapped"]
    path: Path = Field(description="the folder that the names in the mapping are within")
    mapping: Path = Field(description="CSV or YAML; its columns are in docs/data-sources.md")
    modality: str = Field("", description="of rows that state none")
    site: str = Field("", description="of rows that state none")
    complete: bool = Field(False, description="every target of the mapping is outlined wherever it is visible")


class CocoSettings(PatientSettings):
    """Pictures with annotations in COCO's JSON."""

    kind: Literal["coco"]
    annotations: Path
    images: Path | None = Field(None, description="folder of the pictures; that of the annotations when absent")
    patient_key: str = Field("", description="entry of an image in the JSON that names its patient")
    several: Literal["merge", "apart", "reject"] = Field(
        "merge",
        description=(
            "annotations of one category in one picture: one mask of all; a picture for each; set aside as ambiguous"
        ),
    )
    crowd: Literal["reject", "keep"] = Field("reject", description="annotations of groups (iscrowd)")
    modality: str = ""
    site: str = ""
    complete: bool = Field(False, description="every category is outlined wherever it is visible")


class MlflowSettings(Section):
    """Files in the U-MRG schema that MLflow holds: ``train.parquet``, ``test.parquet`` and perhaps ``val.parquet``."""

    kind: Literal["mlflow"]
    name: str = Field("", description="the last part of the URI when empty")
    uri: str = Field(
        description="of a folder of artifacts, such as runs:/RUN_ID/dataset; or dataset:/RUN_ID/NAME, an input of a run"
    )
    tracking_uri: str = Field("", description="as MLFLOW_TRACKING_URI when empty")
    val_share: float = Field(0.05, gt=0, lt=0.5)


SOURCES: dict[str, type[Section]] = {
    "phantoms": PhantomSettings,
    "parquet": ParquetSettings,
    "folder": FolderSettings,
    "nifti": NiftiSettings,
    "dicom": DicomSettings,
    "dicomweb": DicomwebSettings,
    "mapped": MappedSettings,
    "coco": CocoSettings,
    "mlflow": MlflowSettings,
}
SourceSettings = Annotated[
    PhantomSettings
    | ParquetSettings
    | FolderSettings
    | NiftiSettings
    | DicomSettings
    | DicomwebSettings
    | MappedSettings
    | CocoSettings
    | MlflowSettings,
    Field(discriminator="kind"),
]
