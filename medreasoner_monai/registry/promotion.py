"""The model registry: versions that point at merged folders, and the alias that says which one is champion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from medreasoner_monai.errors import MedReasonerError
from medreasoner_monai.pipeline.tracking import Tracking

CHAMPION = "champion"
PREVIOUS = "previous"
CANDIDATE = "candidate"


@dataclass(frozen=True)
class Version:
    """A registered model."""

    name: str
    version: str
    folder: Path
    digest: str


def champion(tracking: Tracking, name: str) -> Version | None:
    """The champion of that name, if there is one.

    Raises
    ------
    MedReasonerError
        If the registry names a champion whose folder is gone.
    """
    found = _by_alias(tracking.client, name, CHAMPION)
    if found is None:
        return None
    version = _version(found)
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
    MedReasonerError
        If the registry cannot be asked.
    """
    from mlflow.exceptions import MlflowException

    found: set[str] = set()
    token: str | None = None
    try:
        while True:
            page = tracking.client.search_model_versions(max_results=1000, page_token=token)
            found.update(v.tags["digest"] for v in page if "digest" in v.tags)
            token = page.token
            if not token:
                return found
    except MlflowException as error:
        raise MedReasonerError(f"the model registry at {tracking.uri} cannot be asked: {error}") from None


def register(tracking: Tracking, name: str, folder: Path, digest: str, run_id: str | None) -> Version:
    """The version of a merged folder, made unless that very model is registered; alias ``candidate``."""
    client = tracking.client
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name, description="Grounding reasoners. Research use only.")
    same = [v for v in client.search_model_versions(f"name='{name}'") if v.tags.get("digest") == digest]
    made = same[0] if same else client.create_model_version(name, folder.as_uri(), run_id, tags={"digest": digest})
    client.set_registered_model_alias(name, CANDIDATE, made.version)
    return _version(made)


def promote(tracking: Tracking, version: Version) -> None:
    """Make a version the champion; the one before stays within reach as ``previous``. Harmless when repeated."""
    client = tracking.client
    before = _by_alias(client, version.name, CHAMPION)
    if before is not None and str(before.version) != version.version:
        client.set_registered_model_alias(version.name, PREVIOUS, before.version)
    client.set_registered_model_alias(version.name, CHAMPION, version.version)
    client.set_model_version_tag(version.name, version.version, "decision", "promote")


def refuse(tracking: Tracking, version: Version, reason: str) -> None:
    """Note on a version why it did not become champion."""
    tracking.client.set_model_version_tag(version.name, version.version, "decision", f"refuse: {reason}"[:500])


def _by_alias(client: Any, name: str, alias: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None


def _version(found: Any) -> Version:
    folder = Path(unquote(urlparse(found.source).path))
    return Version(found.name, str(found.version), folder, found.tags.get("digest", ""))
