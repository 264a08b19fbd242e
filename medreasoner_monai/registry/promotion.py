"""The model registry: versions of merged models, and the alias that says which one is champion."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from medreasoner_monai.errors import ArtifactError, MedReasonerError, RegistryError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.explain import explain_error
from medreasoner_monai.pipeline.mlflow_store import error_code
from medreasoner_monai.pipeline.send import reason
from medreasoner_monai.pipeline.tracking import Tracking

CHAMPION = "champion"
PREVIOUS = "previous"
CANDIDATE = "candidate"
FOLDER = "model"
"""The folder among a run's artifacts that holds a registered model, on a server."""


@dataclass(frozen=True)
class Version:
    """A registered model."""

    name: str
    version: str
    folder: Path
    digest: str


def champion(tracking: Tracking, name: str, cache: Path) -> Version | None:
    """The champion of that name, or None if the registry has none.

    Parameters
    ----------
    cache:
        Folder for models that a server keeps; each is fetched once and checked against its digest.

    Raises
    ------
    RegistryError
        If the registry does not answer. That says nothing about a champion.
    MedReasonerError
        If the registry names a champion whose folder is gone.
    ArtifactError
        If what the server keeps is not the model that was registered.
    """
    with _asking(tracking, f"asked for the champion of {name}"):
        found = _by_alias(tracking.client, name, CHAMPION)
        if found is None:
            return None
        folder = _folder(found) if _is_local(found) else _fetch(tracking, found, cache)
    version = _version(found, folder)
    if not version.folder.is_dir():
        raise MedReasonerError(
            f"the champion {name} version {version.version} lies at {version.folder}, which is gone; bring the folder "
            f"back, or remove the alias '{CHAMPION}' in MLflow"
        )
    return version


def registered_digests(tracking: Tracking) -> set[str]:
    """Digests of every model version of the registry, whatever its name and aliases.

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    found: set[str] = set()
    token: str | None = None
    with _asking(tracking, "asked for its models"):
        while True:
            page = tracking.client.search_model_versions(max_results=1000, page_token=token)
            found.update(v.tags["digest"] for v in page if "digest" in v.tags)
            token = page.token
            if not token:
                return found


def register(tracking: Tracking, name: str, folder: Path, digest: str, run_id: str | None) -> Version:
    """The version of a merged model, made unless that very model is registered; alias ``candidate``.

    A database refers to the folder where it lies. A server takes only what is among the artifacts of a run, so the
    model is uploaded first: to the run given, or to one made for it.

    Raises
    ------
    RegistryError
        If the registry does not answer or refuses the model.
    """
    with _asking(tracking, f"given version {digest[:12]} of {name}"):
        client = tracking.client
        if _registered(client, name) is None:
            client.create_registered_model(name, description="Grounding reasoners. Research use only.")
        same = [v for v in client.search_model_versions(f"name='{name}'") if v.tags.get("digest") == digest]
        made = same[0] if same else _create(tracking, name, folder, digest, run_id)
        client.set_registered_model_alias(name, CANDIDATE, made.version)
    return _version(made, folder)


def promote(tracking: Tracking, version: Version) -> None:
    """Make a version the champion; the one before stays within reach as ``previous``. Harmless when repeated.

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    client = tracking.client
    with _asking(tracking, f"told to promote {version.name} version {version.version}"):
        before = _by_alias(client, version.name, CHAMPION)
        if before is not None and str(before.version) != version.version:
            client.set_registered_model_alias(version.name, PREVIOUS, before.version)
        client.set_registered_model_alias(version.name, CHAMPION, version.version)
        client.set_model_version_tag(version.name, version.version, "decision", "promote")


def refuse(tracking: Tracking, version: Version, why: str) -> None:
    """Note on a version why it did not become champion.

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    with _asking(tracking, f"told to refuse {version.name} version {version.version}"):
        tracking.client.set_model_version_tag(version.name, version.version, "decision", f"refuse: {why}"[:500])


@contextmanager
def _asking(tracking: Tracking, what: str) -> Iterator[None]:
    """Whatever MLflow raises stops the gate: only an answer counts as one."""
    try:
        tracking.store.check()
        yield
        tracking.store.check()
    except Exception as error:
        known = explain_error(error)
        if known is error:
            raise
        raise known or RegistryError(
            f"the model registry at {tracking.store.shown} could not be {what} ({reason(error)}); nothing was "
            "promoted. Once it answers, the same command goes on with the gate"
        ) from error


def _registered(client: Any, name: str) -> Any:
    """The registered model, or None if the registry says that it does not exist."""
    try:
        return client.get_registered_model(name)
    except Exception as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _by_alias(client: Any, name: str, alias: str) -> Any:
    """The version of an alias, or None.

    Read from the model's aliases: when asked for a version by alias, MLflow has one error code for an alias that does
    not exist and for a request that it cannot read.
    """
    model = _registered(client, name)
    version = None if model is None else model.aliases.get(alias)
    return None if version is None else client.get_model_version(name, version)


def _create(tracking: Tracking, name: str, folder: Path, digest: str, run_id: str | None) -> Any:
    client, source = tracking.client, folder.as_uri()
    if tracking.store.is_server:
        run = _run(tracking, name, run_id)
        client.log_artifacts(run.info.run_id, str(folder), FOLDER)
        source, run_id = f"{run.info.artifact_uri}/{FOLDER}", run.info.run_id
    return client.create_model_version(name, source, run_id, tags={"digest": digest})


def _run(tracking: Tracking, name: str, run_id: str | None) -> Any:
    """The run that keeps a model's files: the one given, unless the server does not have it."""
    client = tracking.client
    if run_id is not None:
        try:
            return client.get_run(run_id)
        except Exception as error:
            if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
                raise
    made = client.create_run(tracking.experiment_id, run_name=f"model: {name}", tags={"stage": "registration"})
    client.set_terminated(made.info.run_id)
    return made


def _fetch(tracking: Tracking, found: Any, cache: Path) -> Path:
    """The folder of a version that a server keeps: from the cache, or downloaded and checked."""
    digest = found.tags.get("digest", "")
    folder = cache / f"{digest[:16]}"
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    client = tracking.client
    client.download_artifacts(found.run_id, FOLDER, str(partial))
    there = Artifact.open(partial / FOLDER, "model", verify=True).digest
    if there != digest:
        raise ArtifactError(
            f"version {found.version} of {found.name} on {tracking.store.shown} has the digest {there[:12]}, "
            f"registered was {digest[:12]}; its artifacts were changed: remove the alias '{CHAMPION}', or register the "
            "model again"
        )
    (partial / FOLDER).replace(folder)
    partial.rmdir()
    return folder


def _is_local(found: Any) -> bool:
    return urlparse(found.source).scheme in ("", "file")


def _folder(found: Any) -> Path:
    return Path(unquote(urlparse(found.source).path))


def _version(found: Any, folder: Path) -> Version:
    return Version(found.name, str(found.version), folder, found.tags.get("digest", ""))
