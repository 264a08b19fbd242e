"""Settings of curation: where pictures and masks come from, and what is made of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from medreasoner_monai.settings.sources import (
    SOURCES,
    FolderSettings,
    ParquetSettings,
    PhantomSettings,
    SourceSettings,
)
from medreasoner_monai.settings.training import Section

__all__ = [
    "SOURCES",
    "DataSettings",
    "FolderSettings",
    "ParquetSettings",
    "PhantomSettings",
    "QuestionSettings",
    "SourceSettings",
    "SplitSettings",
]


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

    writer: Literal["rules", "name"] = Field(
        "rules", description="rules: clinical hints and measured looks; name: where is the <target>?, without a trace"
    )
    seed: int = Field(0, ge=0)
    per_target: int = Field(1, ge=1, le=12, description="questions for each target, in different words")
    absent_share: float = Field(
        0.15, ge=0, le=0.5, description="of each target's questions, for pictures that do not show it"
    )


class WorkSettings(Section):
    """Who makes the shards. Nothing here decides a result."""

    engine: Literal["local", "ray"] = Field(
        "local", description="ray: a cluster, by RAY_ADDRESS (or this machine alone); its nodes need the sources' paths"
    )
    processes: int | None = Field(None, ge=1, description="of this machine; all cores when absent")


class DataSettings(Section):
    """Where the task data comes from, and how it is made."""

    sources: tuple[SourceSettings, ...] = Field((PhantomSettings(),), min_length=1)
    splits: SplitSettings = SplitSettings()
    questions: QuestionSettings = QuestionSettings()
    work: WorkSettings = WorkSettings()
