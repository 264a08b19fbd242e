"""Data sets that a real MLflow server holds: as artifacts of a run, or as its input."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.data.artifact_dataset_sources import register_artifact_dataset_sources
from mlflow.data.dataset_source_registry import get_registered_sources
from mlflow.data.meta_dataset import MetaDataset

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.data.sources.mlflow_dataset import mlflow_source
from medreasoner_monai.data.sources.parquet import ParquetSource
from medreasoner_monai.data.sources.protocol import Placed
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.settings.sources import MlflowSettings
from tests.samples import sample


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDREASONER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, name in enumerate(("train", "val", "test")):
        write_split(folder / f"{name}.parquet", [sample(10 * number), sample(10 * number + 1)])
    return folder


def source(url: str, uri: str) -> ParquetSource:
    return mlflow_source(MlflowSettings(kind="mlflow", uri=uri, tracking_uri=url))


def placed(found: ParquetSource) -> list[tuple[str, str | None]]:
    return [(i.sample.id, i.split) for u in found.units() for i in found.read(u) if isinstance(i, Placed)]


def a_run(url: str) -> tuple[mlflow.MlflowClient, str]:
    client = mlflow.MlflowClient(tracking_uri=url)
    known = client.get_experiment_by_name("datasets")
    experiment = known.experiment_id if known else client.create_experiment("datasets")
    return client, client.create_run(experiment).info.run_id


EXPECTED = [("s0", "train"), ("s1", "train"), ("s10", "val"), ("s11", "val"), ("s20", "test"), ("s21", "test")]


def test_artifacts_of_a_run_are_fetched_whole_and_once(mlflow_url: str, splits: Path, cache: Path) -> None:
    client, run = a_run(mlflow_url)
    client.log_artifacts(run, str(splits), "umrg")
    found = source(mlflow_url, f"runs:/{run}/umrg")
    assert found.name == "umrg" and placed(found) == EXPECTED
    again = source(mlflow_url, f"runs:/{run}/umrg")
    assert again.identity() == found.identity() and len(list(cache.iterdir())) == 1
    first = next(i for u in found.units() for i in found.read(u) if isinstance(i, Placed))
    assert np.array_equal(first.sample.image, sample(0).image)


def test_an_input_of_a_run_is_fetched_from_where_it_came(mlflow_url: str, splits: Path) -> None:
    register_artifact_dataset_sources()
    local = next(s for s in get_registered_sources() if s._get_source_type() == "local")
    stated = MetaDataset(local(str(splits)), name="night", digest="1")
    client, run = a_run(mlflow_url)
    client.log_inputs(run, [mlflow.entities.DatasetInput(stated._to_mlflow_entity(), [])])
    assert placed(source(mlflow_url, f"dataset:/{run}/night")) == EXPECTED
    with pytest.raises(InputError, match="no data set 'nigth' among its inputs, only night. Did you mean 'night'"):
        source(mlflow_url, f"dataset:/{run}/nigth")


def test_what_mlflow_does_not_have_is_said(mlflow_url: str, splits: Path, cache: Path) -> None:
    client, run = a_run(mlflow_url)
    client.log_artifact(run, str(splits / "val.parquet"), "half")
    with pytest.raises(InputError, match=r"half has no train.parquet and no test.parquet"):
        source(mlflow_url, f"runs:/{run}/half")
    with pytest.raises(InputError, match="cannot be had from MLflow"):
        source(mlflow_url, "runs:/0123456789abcdef0123456789abcdef/umrg")
    with pytest.raises(ConfigError, match="is not a URI of MLflow"):
        source(mlflow_url, "somewhere/umrg")
    assert not [p for p in cache.iterdir() if p.name.startswith("fetching-")], "nothing half-fetched stays"
