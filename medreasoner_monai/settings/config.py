"""Settings: a config file is one :class:`Settings` in YAML. Every value has a meaning, a unit and a default here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from medreasoner_monai.settings.data import DataSettings
from medreasoner_monai.settings.training import (
    ColdStartSettings,
    GrpoSettings,
    HardwareSettings,
    ModelSettings,
    Section,
)


class ConfidenceSettings(Section):
    """Several answers a question: how far they agree is how sure the finished model is."""

    answers: int = Field(4, ge=0, description="answers a question; with fewer than 2 confidence is not measured")
    temperature: float = Field(0.7, gt=0, description="at which they are drawn")
    wanted: float = Field(
        0.5, ge=0, le=1, description="mean box IoU of the answers given; the threshold for it is fitted on validation"
    )


class EvaluateSettings(Section):
    """How a reasoner is scored on the test split."""

    batch: int = Field(32, ge=1)
    max_new_tokens: int = Field(96, ge=8)
    segmenters: tuple[str, ...] = Field(
        ("auto",),
        description="NAME, NAME:option=value,… or LABEL=NAME:… each; auto: fusion where the extra lite-medsam is "
        "installed, else classical",
    )
    surface: bool = Field(False, description="measure the masks' borders too: takes longer")
    bootstrap: int = Field(2000, ge=100, description="resamples for the 95 % intervals")
    confidence: ConfidenceSettings = ConfidenceSettings()


class GateSettings(Section):
    """When a model may become the champion."""

    min_box_iou: float = Field(0.0, ge=0, le=1)
    max_failure_rate: float = Field(0.05, ge=0, le=1)
    min_over_blank: float = Field(0.05, description="box IoU that the picture must add to the question alone")
    max_false_positive: float = Field(0.10, ge=0, le=1, description="share of absent targets that get a region")
    max_false_negative: float = Field(0.10, ge=0, le=1, description='share of present targets called "nothing there"')
    max_left_right_confusion: float = Field(
        0.05, ge=0, le=1, description="share of regions of sided targets that lie on the other side"
    )
    tolerance: float = Field(0.01, ge=0, description="box IoU that the interval may reach below the champion's")
    rate_tolerance: float = Field(
        0.05, ge=0, description="how far the interval of a rate of mistakes may reach above the champion's"
    )


class GroundSettings(Section):
    """What the finished bundle is tried on; by default the CT that pydicom carries."""

    dicom: Path | None = None
    question: str = "Which bone carries the weight of the trunk?"
    series: str | None = None


class TrackingSettings(Section):
    """MLflow and Prefect. Left empty, both live inside the workspace."""

    mlflow_uri: str | None = None
    pictures: bool = Field(
        False, description="send training pictures to a configured MLflow; in the workspace they are kept in any case"
    )
    sample_ids: bool = Field(
        False, description="send ids of samples to a configured MLflow; otherwise samples are numbered there"
    )
    experiment: str = "medreasoner"
    model_name: str = "medreasoner"
    prefect_api_url: str | None = None


class StoreSettings(Section):
    """Where artifacts are shared between machines. Left empty, they lie in the workspace alone."""

    url: str | None = Field(None, description="as fsspec takes it: file:///mnt/store, s3://bucket/x, sftp://host/x")
    options: dict[str, Any] = Field({}, description="for fsspec's file system; passwords belong in the environment")
    lease_seconds: float = Field(
        60, gt=0, description="how long a machine that stopped working on a stage is waited for"
    )


class Settings(Section):
    """A whole run."""

    name: str = "run"
    threads: int | None = Field(None, ge=1, description="CPU threads of the training; all cores when absent")
    hardware: HardwareSettings = HardwareSettings()
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    cold_start: ColdStartSettings = ColdStartSettings()
    grpo: GrpoSettings = GrpoSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    gate: GateSettings = GateSettings()
    ground: GroundSettings = GroundSettings()
    tracking: TrackingSettings = TrackingSettings()
    store: StoreSettings = StoreSettings()
