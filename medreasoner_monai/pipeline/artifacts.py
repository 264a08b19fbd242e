"""An artifact: a directory with a manifest, made once, known by what it was made from.

While a stage works, its directory is called ``<kind>-<key>.partial`` and may be taken up again by a later process; only
when everything is written does it get its final name, by one rename. The key is a digest over the kind, the inputs'
digests, the settings and the code that made it, so a stage whose inputs, settings and code are the same finds what it
made before.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.files import file_digest, object_digest, package_versions, write_json

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1
_CLOCK = ".seconds"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact directory and its manifest."""

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def kind(self) -> str:
        """Such as ``dataset`` or ``checkpoint``."""
        return str(self.manifest["kind"])

    @property
    def digest(self) -> str:
        """sha256 over the names and digests of its files."""
        return str(self.manifest["digest"])

    @property
    def seconds(self) -> float:
        """Wall-clock seconds that making it took, over all attempts."""
        return float(self.manifest["seconds"])

    @property
    def facts(self) -> dict[str, Any]:
        """What the stage chose to say about it (counts, a decision…)."""
        return dict(self.manifest["facts"])

    @classmethod
    def open(cls, path: Path, kind: str | None = None, *, verify: bool = False) -> Artifact:
        """Open an artifact directory.

        Raises
        ------
        ArtifactError
            If there is no manifest, it is of another kind, or (with ``verify``) a file is missing or has changed.
        """
        try:
            manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ArtifactError(f"{path} is no artifact: it has no {MANIFEST}") from None
        except ValueError as error:
            raise ArtifactError(f"{path / MANIFEST} cannot be read: {error}") from None
        if kind is not None and manifest["kind"] != kind:
            raise ArtifactError(f"{path} is a {manifest['kind']!r} artifact, expected {kind!r}")
        if verify:
            for name, digest in manifest["files"].items():
                file = path / name
                if not file.is_file():
                    raise ArtifactError(f"{file} is missing, though {MANIFEST} lists it; make the artifact again")
                if file_digest(file) != digest:
                    raise ArtifactError(f"{file} has changed since the artifact was made; make the artifact again")
        return cls(path, manifest)


class Draft:
    """An artifact being made: write into ``path``, note ``facts``; what lies there may come from a killed attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}
        self.scratch = path / "scratch"
        """For checkpoints and the like, taken up by a later attempt and removed before the artifact is finished."""
        self.scratch.mkdir(parents=True, exist_ok=True)


class Store:
    """The artifacts of one workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self, kind: str, inputs: Mapping[str, str], settings: Any, code: str) -> str:
        """What an artifact is known by before it is made."""
        parts = [kind, SCHEMA_VERSION, dict(inputs), settings, code]
        return object_digest(parts)[:16]

    def find(self, kind: str, key: str) -> Artifact | None:
        """The finished artifact of that key, if there is one."""
        path = self.root / f"{kind}-{key}"
        return Artifact.open(path, kind) if path.is_dir() else None

    @contextmanager
    def make(
        self, kind: str, key: str, inputs: Mapping[str, str], settings: Any, extra: Mapping[str, Any] | None = None
    ) -> Iterator[Draft]:
        """Work on the artifact of that key; when the block ends well, it gets its manifest and its final name."""
        self.root.mkdir(parents=True, exist_ok=True)
        final, partial = self.root / f"{kind}-{key}", self.root / f"{kind}-{key}.partial"
        draft = Draft(partial)
        before = _spent(partial)
        started = time.monotonic()
        try:
            yield draft
        finally:
            spent = before + time.monotonic() - started
            (partial / _CLOCK).write_text(f"{spent:.3f}")
        shutil.rmtree(draft.scratch)
        (partial / _CLOCK).unlink()
        write_manifest(
            partial, kind, key=key, inputs=inputs, settings=settings, facts=draft.facts, seconds=spent, extra=extra
        )
        partial.replace(final)


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
    files = {str(p.relative_to(folder)): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}
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


def _spent(partial: Path) -> float:
    try:
        return float((partial / _CLOCK).read_text())
    except (FileNotFoundError, ValueError):
        return 0.0
