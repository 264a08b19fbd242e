"""Settings of curation: where pictures and masks come from, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medreasoner_monai.settings.training import OBSERVES, Section


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


class FolderSettings(Section):
    """A folder of pictures and masks in BiomedParse's naming, or a folder of such folders (each one a source)."""

    kind: Literal["folder"]
    name: str = Field("", description="the folder's name when empty")
    path: Path
    patient: str = Field(
        "", description="regular expression; its first group, searched in a picture's id, is the patient"
    )


SOURCES: dict[str, type[Section]] = {
    "phantoms": PhantomSettings,
    "parquet": ParquetSettings,
    "folder": FolderSettings,
}
SourceSettings = Annotated[PhantomSettings | ParquetSettings | FolderSettings, Field(discriminator="kind")]


class SplitSettings(Section):
    """How the patients of sources without splits of their own are divided."""

    val: float = Field(0.1, ge=0, lt=1, description="share of the patients")
    test: float = Field(0.2, ge=0, lt=1, description="share of the patients")
    salt: str = Field("", description="another text gives another division")

    @model_validator(mode="after")
    def _some_train(self) -> SplitSettings:
        if self.val + self.test >= 1:
            raise ValueError("val and test together must leave something for train")
        return self


class QuestionSettings(Section):
    """How questions and traces are written for pictures that come with masks alone."""

    writer: Literal["name"] = "name"
    seed: int = Field(0, ge=0)


class ReviewSettings(Section):
    """Reviewers' verdicts to apply (docs/review.md). They decide the result; where their file lies does not."""

    path: Path = Field(description="the review store that `medreasoner review` wrote", json_schema_extra=OBSERVES)
    require: bool = Field(False, description="keep samples alone of which every part has been reviewed")
    readings: int = Field(1, ge=1, description="readers who must have judged a part")


class DataSettings(Section):
    """Where the task data comes from, and how it is made."""

    sources: tuple[SourceSettings, ...] = Field((PhantomSettings(),), min_length=1)
    splits: SplitSettings = SplitSettings()
    questions: QuestionSettings = QuestionSettings()
    review: ReviewSettings | None = None
