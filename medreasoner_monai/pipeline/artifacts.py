"""An artifact: a directory with a manifest, identified by a cache key before it is made and by a digest afterwards.

The cache key says what decides the result (:mod:`~medreasoner_monai.pipeline.stage`); the digest is over the files.
Between flows and machines a :class:`Ref` travels, never a path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.files import file_digest, object_digest, package_versions, write_json

MANIFEST = "manifest.json"
SCHEMA_VERSION = 2
"""1 had the stage's whole code in the key. Both are read."""
_REQUIRED = ("kind", "key", "digest", "inputs", "facts", "files", "seconds")


class Ref(BaseModel):
    """An artifact as flows hand it on: it means the same in every workspace and on every machine of one store."""

    model_config = ConfigDict(frozen=True)

    kind: str
    key: str
    digest: str

    @property
    def name(self) -> str:
        """The artifact's folder in a store."""
        return f"{self.kind}-{self.key}"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact directory and its manifest."""

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """Such as ``dataset`` or ``grpo``."""
        return str(self.manifest["kind"])

    @property
    def key(self) -> str:
        """The cache key it was made under."""
        return str(self.manifest["key"])

    @property
    def digest(self) -> str:
        """sha256 over the names and digests of its files."""
        return str(self.manifest["digest"])

    @property
    def ref(self) -> Ref:
        """What other flows and machines know it by."""
        return Ref(kind=self.kind, key=self.key, digest=self.digest)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that making it took, over all attempts."""
        return float(self.manifest["seconds"])

    @property
    def facts(self) -> dict[str, Any]:
        """What the stage chose to say about it (counts, a decision…)."""
        return dict(self.manifest["facts"])

    @property
    def missing(self) -> list[str]:
        """Files of the manifest that are not there; a dangling link counts as missing."""
        return [name for name in self.manifest["files"] if not (self.path / name).is_file()]

    @classmethod
    def open(cls, path: Path, kind: str | None = None, *, verify: bool = False) -> Artifact:
        """Open an artifact directory.

        Parameters
        ----------
        path:
            The directory.
        kind:
            The kind it must be of; any when None.
        verify:
            Read every file and compare its sha256 with the manifest's.

        Raises
        ------
        ArtifactError
            If there is no manifest, it cannot be read or was changed by hand, it is of another kind, or (with
            ``verify``) a file is missing or has changed.
        """
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(f"{path} is not an artifact: it has no {MANIFEST}") from None
        except ValueError as error:
            raise ArtifactError(f"{path / MANIFEST} cannot be read: {error}") from None
        check_manifest(manifest, path / MANIFEST)
        if kind is not None and manifest["kind"] != kind:
            raise ArtifactError(f"{path} is a {manifest['kind']!r} artifact, expected {kind!r}")
        found = cls(path, manifest)
        if verify:
            for name in found.missing[:1]:
                raise ArtifactError(f"{path / name} is missing, though {MANIFEST} lists it; make the artifact again")
            for name, digest in manifest["files"].items():
                if file_digest(path / name) != digest:
                    raise ArtifactError(f"{path / name} has changed since the artifact was made; make it again")
        return found


def check_manifest(manifest: Any, where: Path | str) -> None:
    """Check that a manifest is whole and agrees with itself.

    Raises
    ------
    ArtifactError
        If a field is missing, or the digest is not that of the files listed.
    """
    if not isinstance(manifest, dict) or any(name not in manifest for name in _REQUIRED):
        missing = [n for n in _REQUIRED if not isinstance(manifest, dict) or n not in manifest]
        raise ArtifactError(f"{where} is not a whole manifest: {', '.join(missing)} missing; make the artifact again")
    if manifest["digest"] != object_digest(manifest["files"]):
        raise ArtifactError(
            f"{where} was changed after the artifact was made: its digest is not that of the files it lists; "
            "remove the folder, and the stage makes it again"
        )


def content(folder: Path) -> dict[str, str]:
    """The sha256 of every file of an artifact's folder by relative name, without the manifest.

    :func:`~medreasoner_monai.files.object_digest` of it is the artifact's digest.
    """
    files = {str(p.relative_to(folder)): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    files.pop(MANIFEST, None)  # from an attempt that was killed after it had written one
    return files


def write_manifest(
    folder: Path,
    kind: str,
    *,
    key: str,
    inputs: Mapping[str, str],
    settings: Any,
    facts: Mapping[str, Any],
    seconds: float,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Make a finished folder an artifact: write its manifest, with the sha256 of every file."""
    files = content(folder)
    write_json(
        folder / MANIFEST,
        {
            "kind": kind,
            "schema_version": SCHEMA_VERSION,
            "key": key,
            "digest": object_digest(files),
            "inputs": dict(inputs),
            "settings": settings,
            "facts": dict(facts),
            "packages": package_versions(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 2),
            "files": files,
            **(extra or {}),
        },
    )
