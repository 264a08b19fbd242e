"""Sources by the kind of their settings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medreasoner_monai.data.sources.protocol import Source
from medreasoner_monai.errors import ConfigError

_ROOM = "medreasoner_monai.data.sources"

KINDS: Mapping[str, str] = {
    "phantoms": "phantoms:PhantomSource",
    "parquet": "parquet:ParquetSource",
    "folder": "folders:folder_sources",
    "nifti": "nifti:NiftiSource",
    "dicom": "dicom_folder:DicomSource",
    "dicomweb": "dicomweb_archive:DicomwebSource",
    "mapped": "mapped:MappedSource",
    "coco": "coco:CocoSource",
    "mlflow": "mlflow_dataset:mlflow_source",
}
"""Kind to ``module:factory``, imported on first use. A factory takes its settings and gives a source, or several."""


def factory(kind: str) -> Callable[[Any], Any]:
    """What makes a source, or several, of the settings of a kind."""
    module, _, name = KINDS[kind].partition(":")
    made: Callable[[Any], Any] = getattr(importlib.import_module(f"{_ROOM}.{module}"), name)
    return made


def build(settings: Sequence[Any]) -> list[Source]:
    """The sources of a config, in order.

    Raises
    ------
    ConfigError
        If two have one name.
    """
    found: list[Source] = []
    for section in settings:
        made = factory(section.kind)(section)
        found += made if isinstance(made, list) else [made]
    names = [source.name for source in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two sources are called {name!r}; give each a name of its own (data.sources.N.name)")
    return found
