"""Settings of sources: where pictures and their masks come from, chosen by ``kind``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

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


class PatientSettings(Section):
    """What every source of pictures has: a name, a licence, and how its patients are known."""

    name: str = Field("", description="the folder's or file's name when empty")
    licence: str = Field("", description="what the source itself states when empty")
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
    aliases: Path | None = Field(
        None, description="CSV with the columns source, patient and group: one patient under several ids"
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


SOURCES: dict[str, type[Section]] = {
    "phantoms": PhantomSettings,
    "parquet": ParquetSettings,
    "folder": FolderSettings,
}
SourceSettings = Annotated[PhantomSettings | ParquetSettings | FolderSettings, Field(discriminator="kind")]
