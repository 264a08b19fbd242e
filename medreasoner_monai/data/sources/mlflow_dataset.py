"""A data set that MLflow holds: artifacts of a run, or what a run states as its input (``mlflow.log_input``)."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from medreasoner_monai.data.sources.parquet import ParquetSource
from medreasoner_monai.errors import ConfigError, InputError, nearest
from medreasoner_monai.files import tree_digest
from medreasoner_monai.settings.sources import MlflowSettings, ParquetSettings

_INPUT = "dataset:/"
_SPLITS = ("train.parquet", "val.parquet", "test.parquet")


def mlflow_source(settings: MlflowSettings) -> ParquetSource:
    """The files, fetched into the user's cache folder, as a source of finished samples.

    Raises
    ------
    ConfigError
        If the URI is not one that is understood.
    InputError
        If MLflow does not have it, or it lacks ``train.parquet`` or ``test.parquet``.
    """
    folder = _fetched(settings)
    missing = [name for name in ("train.parquet", "test.parquet") if not (folder / name).is_file()]
    if missing:
        raise InputError(f"{settings.uri} has no {' and no '.join(missing)}; name the folder that holds the splits")
    val = folder / "val.parquet"
    return ParquetSource(
        ParquetSettings(
            kind="parquet",
            name=settings.name or settings.uri.rstrip("/").rpartition("/")[2],
            train=folder / "train.parquet",
            test=folder / "test.parquet",
            val=val if val.is_file() else None,
            val_share=settings.val_share,
        )
    )


def _fetched(settings: MlflowSettings) -> Path:
    """A folder in the cache, named by its content: it appears whole, and the same data are kept once."""
    root = Path(os.environ.get("MEDREASONER_CACHE") or Path.home() / ".cache" / "medreasoner") / "datasets"
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix="fetching-") as temporary:
        came = _download(settings, Path(temporary))
        splits = Path(temporary) / "splits"
        splits.mkdir()
        for name in _SPLITS:
            if (came / name).is_file():
                shutil.copyfile(came / name, splits / name)
        final = root / tree_digest(splits)[:32]
        if not final.is_dir():
            splits.rename(final)
    return final


def _download(settings: MlflowSettings, into: Path) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    tracking = settings.tracking_uri or None
    try:
        if settings.uri.startswith(_INPUT):
            came = _input_source(settings.uri, tracking).load()
        elif ":/" in settings.uri:
            came = mlflow.artifacts.download_artifacts(
                artifact_uri=settings.uri, dst_path=str(into), tracking_uri=tracking
            )
        else:
            raise ConfigError(
                f"{settings.uri!r} is not a URI of MLflow; runs:/RUN_ID/PATH or {_INPUT}RUN_ID/NAME was expected"
            )
    except (MlflowException, OSError) as error:
        raise InputError(
            f"{settings.uri} cannot be had from MLflow ({type(error).__name__}); check the run, the path and the server"
        ) from error
    if not isinstance(came, str | Path):
        raise InputError(f"{settings.uri} is not stored as files; log its Parquet files as artifacts")
    return Path(came)


def _input_source(uri: str, tracking: str | None) -> Any:
    """The source of a data set that a run has as an input."""
    import mlflow

    run_id, _, name = uri.removeprefix(_INPUT).partition("/")
    inputs = mlflow.MlflowClient(tracking_uri=tracking).get_run(run_id).inputs
    named = {found.dataset.name: found for found in (inputs.dataset_inputs if inputs else ())}
    if name not in named:
        raise InputError(
            f"run {run_id} has no data set {name!r} among its inputs, only {', '.join(sorted(named)) or 'none'}."
            f"{nearest(name, named)}"
        )
    return mlflow.data.get_source(named[name])
