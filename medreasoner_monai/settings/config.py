"""Settings: a config file is one :class:`Settings` in YAML. Every value has a meaning, a unit and a default here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.settings.training import (
    ColdStartSettings,
    GrpoSettings,
    HardwareSettings,
    ModelSettings,
    Section,
)


class PhantomSource(Section):
    """Synthetic phantoms with exact masks, drawn on the spot."""

    kind: Literal["phantoms"] = "phantoms"
    sites: tuple[str, ...] = ("ct_abdomen", "chest_xray", "brain_mr")
    categories: tuple[str, ...] | None = Field(None, description="ask about these alone; all when absent")
    train: int = Field(2400, ge=0, description="samples (not phantoms) in the training split")
    val: int = Field(120, ge=0)
    test: int = Field(360, ge=0)
    questions_per_phantom: int = Field(2, ge=1)
    seed: int = Field(0, ge=0)


class ParquetSource(Section):
    """Files in the U-MRG schema. ``val`` may be absent: a part of ``train`` is then set aside, by group."""

    kind: Literal["parquet"]
    train: Path
    test: Path
    val: Path | None = None
    val_share: float = Field(0.05, gt=0, lt=0.5)


class DataSettings(Section):
    """Where the task data comes from."""

    source: Annotated[PhantomSource | ParquetSource, Field(discriminator="kind")] = PhantomSource()


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
    segmenters: tuple[str, ...] = Field(("classical",), description="NAME, NAME:option=value,… or LABEL=NAME:… each")
    surface: bool = Field(False, description="measure the masks' borders too: takes longer")
    bootstrap: int = Field(2000, ge=100, description="resamples for the 95 % intervals")
    confidence: ConfidenceSettings = ConfidenceSettings()


class GateSettings(Section):
    """When a model may become the champion."""

    min_box_iou: float = Field(0.0, ge=0, le=1)
    max_failure_rate: float = Field(0.05, ge=0, le=1)
    min_over_blank: float = Field(0.05, description="box IoU that the picture must add to the question alone")
    tolerance: float = Field(0.01, ge=0, description="box IoU that the interval may reach below the champion's")


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


def load_settings(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a config file; ``overrides`` are ``section.key=value`` with YAML values.

    Raises
    ------
    ConfigError
        If the file is missing or not YAML, a key is unknown (the nearest is suggested) or a value out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}; those that come with the project are in configs/") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold settings by name, found {type(values).__name__}")
    for override in overrides:
        _apply(values, override)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_explain(e) for e in error.errors())) from None


def _apply(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"an override is section.key=value, got {override!r}")
    *parents, last = name.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{override!r}: {parent} is a value, not a section")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{override!r}: what stands behind the equals sign is not YAML") from None


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']} (got {error['input']!r})"
    return f"unknown key {where}.{nearest(str(error['loc'][-1]), _keys_at(error['loc'][:-1]))}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys a section takes, found by walking the models (a union's parts are named by their tag)."""
    model: type[BaseModel] = Settings
    for part in location:
        if part == "phantoms":
            model = PhantomSource
        elif part == "parquet":
            model = ParquetSource
        else:
            inner = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return list(model.model_fields)
