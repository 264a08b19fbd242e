"""Settings of curation: where pictures and masks come from, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from medreasoner_monai.settings.language_model import LanguageModelSettings
from medreasoner_monai.settings.sources import (
    SOURCES,
    FolderSettings,
    ParquetSettings,
    PhantomSettings,
    SourceSettings,
)
from medreasoner_monai.settings.training import OBSERVES, Section

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
    keep: Path | None = Field(
        None, description="an earlier data set (its folder); the groups that it has stay in the splits they are in"
    )
    stratify: bool = Field(
        True,
        description="give small sources, modalities and categories a group in test and val where the digest did not",
    )

    @model_validator(mode="after")
    def _some_train(self) -> SplitSettings:
        if self.val + self.test >= 1:
            raise ValueError("val and test together must leave something for train")
        return self


class FirewallSettings(Section):
    """What may not be on both sides of a split, and what a team accepts all the same."""

    allow: tuple[Literal["group", "study", "picture", "near-duplicate", "question"], ...] = Field(
        (),
        description="kinds of leaks that are reported and accepted; what is accepted stands in the data set's report",
    )


class CleanSettings(Section):
    """Which masks are set aside before anybody asks about them. A limit that is null is not checked."""

    min_pixels: int | None = Field(16, ge=1, description="pixels of a mask, as stored; fewer are set aside as tiny")
    min_share: float | None = Field(0.00002, gt=0, lt=1, description="of the picture's area; less is tiny")
    max_share: float | None = Field(0.9, gt=0, le=1, description="of the picture's area; more is huge")
    max_border: float | None = Field(
        0.5, gt=0, le=1, description="share of the outline that lies on the picture's border; more is cut off"
    )
    min_largest: float | None = Field(
        0.25, gt=0, le=1, description="share of the mask in its largest connected part; less is fragmented"
    )
    many_parts: tuple[str, ...] = Field(
        (
            *("nucleus", "nuclei", "cell", "cells", "gland", "glands", "glomeruli", "villi", "teeth", "ribs"),
            *("vessel", "vessels", "vertebrae", "discs", "bones", "nodes", "sulci", "cavities", "airways"),
            *("matter", "fat", "muscle", "muscles", "sclerosis", "hyperintensities", "exudates", "microaneurysms"),
            *("hemorrhages", "opacities", "metastases", "lesions", "tumors", "nodules", "polyps", "cysts"),
        ),
        description="words of names that are many parts by nature; their masks are never fragmented",
    )
    max_overlap: float | None = Field(
        0.98, gt=0, le=1, description="IoU with an earlier mask of the same picture; from here on it is a duplicate"
    )
    model_side: int | None = Field(
        224, ge=14, description="pixels on the picture's longest side when a model sees it; visibility is judged there"
    )
    visible_pixels: int = Field(9, ge=1, description="pixels of the target at that size; fewer cannot be seen")
    visible_side: float = Field(2.0, gt=0, description="pixels of its box's shorter side at that size")
    min_contrast: float | None = Field(
        0.03,
        gt=0,
        lt=1,
        description="largest difference between the distributions of grey values in the target and in a ring around"
        " it (Kolmogorov-Smirnov, 0 to 1); less cannot be told apart",
    )
    min_range: float | None = Field(
        8, gt=0, le=255, description="grey levels between the picture's 1st and 99th percentile; less is blank"
    )
    text: Literal["off", "reject"] = Field(
        "off", description="what happens to pictures with burnt-in text; reject needs the extra text and takes time"
    )
    text_characters: int = Field(4, ge=1, description="letters and digits from which a picture has burnt-in text")
    text_allowed: tuple[str, ...] = Field(
        (
            *("r", "l", "right", "left", "a", "p", "h", "f", "pa", "ap", "lat", "lateral", "cc", "mlo", "rcc", "lcc"),
            *("rmlo", "lmlo", "erect", "upright", "supine", "prone", "sitting", "semi", "standing", "portable"),
            *("mobile", "cm", "mm", "hz", "mhz", "db", "fps", "kv", "ma", "mas", "mi", "ti", "tis"),
        ),
        description="words that say nothing about a patient, lower case; they are not counted",
    )


class QuestionSettings(Section):
    """How questions and traces are written for pictures that come with masks alone."""

    writer: Literal["rules", "llm", "name"] = Field(
        "rules",
        description="rules: clinical hints and measured looks; llm: a language model; "
        "name: where is the <target>?, without a trace",
    )
    seed: int = Field(0, ge=0)
    per_target: int = Field(1, ge=1, le=12, description="questions for each target, in different words")
    absent_share: float = Field(
        0.15, ge=0, le=0.5, description="of each target's questions, for pictures that do not show it"
    )
    max_grade: float = Field(20.0, gt=0, description="highest Flesch-Kincaid grade of a question that is kept")
    llm: LanguageModelSettings | None = Field(None, description="the endpoint of writer llm")
    judge: LanguageModelSettings | None = Field(None, description="an endpoint that judges what was written")

    @model_validator(mode="after")
    def _endpoint(self) -> QuestionSettings:
        if (self.writer == "llm") != (self.llm is not None):
            raise ValueError("questions.writer llm and questions.llm (url, model) go together; give both or neither")
        return self


class WorkSettings(Section):
    """Who makes the shards. Nothing here decides a result."""

    engine: Literal["local", "ray"] = Field(
        "local", description="ray: a cluster, by RAY_ADDRESS (or this machine alone); its nodes need the sources' paths"
    )
    processes: int | None = Field(None, ge=1, description="of this machine; all cores when absent")


class ReviewSettings(Section):
    """Reviewers' verdicts to apply (docs/review.md). They decide the result; where their file lies does not."""

    path: Path = Field(description="the review store that `medreasoner review` wrote", json_schema_extra=OBSERVES)
    require: bool = Field(False, description="keep samples alone of which every part has been reviewed")
    readings: int = Field(1, ge=1, description="readers who must have judged a part")


class DataSettings(Section):
    """Where the task data comes from, and how it is made."""

    sources: tuple[SourceSettings, ...] = Field((PhantomSettings(),), min_length=1)
    splits: SplitSettings = SplitSettings()
    clean: CleanSettings = CleanSettings()
    firewall: FirewallSettings = FirewallSettings()
    questions: QuestionSettings = QuestionSettings()
    work: WorkSettings = WorkSettings()
    taxonomy: Path | None = Field(
        None, description="a YAML of your own concepts, laid over the shipped ones (see docs/taxonomy.md)"
    )
    review: ReviewSettings | None = None
