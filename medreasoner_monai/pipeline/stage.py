"""A stage: a function from artifacts to an artifact, and the cache key that says whether it has been run already."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from medreasoner_monai.files import object_digest
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.code import code_digest
from medreasoner_monai.pipeline.store import Draft, Store

KEY_LENGTH = 16


@dataclass(frozen=True)
class Stage:
    """What a stage declares about itself, in its ``<stage>_stage.py``.

    Attributes
    ----------
    name:
        As flows, ``--fresh`` and the report call it, such as ``cold-start``.
    kind:
        Of its artifact, such as ``checkpoint``.
    version:
        Raised by hand when a change of code changes its results. A test compares the code with a committed table of
        digests (``tests/pipeline/stage_digests.json``), and fails on a change without a new version.
    code:
        The modules that decide its result, with all they import; see :mod:`~medreasoner_monai.pipeline.code`.
    libraries:
        Distributions whose major version decides its result.
    numeric:
        Whether results differ between device classes (CPU in float32, GPU in bfloat16).
    """

    name: str
    kind: str
    version: int
    code: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    numeric: bool = False

    def key(self, inputs: Mapping[str, str], settings: Any) -> str:
        """The cache key: equal keys mean equal results.

        Parameters
        ----------
        inputs:
            Digests of the artifacts it is made from, by name.
        settings:
            Those that decide the result, JSON-able.
        """
        return object_digest(
            {
                "kind": self.kind,
                "version": self.version,
                "inputs": dict(inputs),
                "settings": settings,
                "libraries": {name: major(name) for name in self.libraries},
                "device": device_class() if self.numeric else None,
            }
        )[:KEY_LENGTH]


def major(distribution: str) -> str:
    """The part of an installed version that announces incompatible changes; empty where it is not installed.

    >>> import importlib.metadata
    >>> major("numpy") == importlib.metadata.version("numpy").split(".")[0]
    True
    """
    try:
        return _major(version(distribution))
    except PackageNotFoundError:
        return ""


def _major(text: str) -> str:
    """Up to the first number that is not 0.

    >>> _major("2.4.1"), _major("0.28.2"), _major("0.0.7")
    ('2', '0.28', '0.0.7')
    """
    found = re.match(r"(0\.)*\d+", text)
    return found[0] if found else text


def device_class() -> str:
    """Where and in which precision this machine computes: ``cuda-bfloat16`` or ``cpu-float32``."""
    if shutil.which("nvidia-smi") is None and not Path("/proc/driver/nvidia/version").exists():
        return "cpu-float32"  # without importing torch, which takes seconds
    import torch

    return "cuda-bfloat16" if torch.cuda.is_available() else "cpu-float32"


@dataclass(frozen=True)
class Made:
    """A stage's artifact, and whether it was found rather than made."""

    artifact: Artifact
    reused: bool


def run_stage(
    store: Store,
    stage: Stage,
    make: Callable[[Draft], None],
    *,
    inputs: Mapping[str, Artifact],
    settings: Any,
    fresh: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> Made:
    """The artifact of a stage from these inputs and settings: the one made before, or a new one from ``make``.

    Parameters
    ----------
    make:
        Writes the artifact into a draft. It may be called again over what a killed attempt left there.
    fresh:
        Make it even if there is one.
    note:
        Told what a person who waits should know.
    """
    digests = {name: artifact.digest for name, artifact in inputs.items()}
    key = stage.key(digests, settings)
    if not fresh and (found := store.find(stage.kind, key)) is not None:
        store.push(found, note)  # it may have been made while the remote store was away
        return Made(found, reused=True)
    with store.claim(stage.kind, key, note):
        if not fresh and (found := store.find(stage.kind, key)) is not None:
            return Made(found, reused=True)
        found = store.take_up(stage.kind, key)
        if found is None:
            about = {
                "stage": stage.name,
                "version": stage.version,
                "code": code_digest(*stage.code),
                "device": device_class(),
            }
            with store.make(stage.kind, key, digests, settings, about) as draft:
                make(draft)
            found = store.find(stage.kind, key)
            assert found is not None, f"{stage.kind}-{key} was finished and is not there"
        store.push(found, note)
        return Made(found, reused=False)
