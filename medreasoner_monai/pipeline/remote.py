"""A store that machines share, at an fsspec URL (``file://``, ``s3://``, ``sftp://``…).

Artifacts are content-addressed, so that two machines that finish the same key at once cannot mix their files::

    <url>/<kind>-<key>/<digest>/…          the files and manifest.json
    <url>/<kind>-<key>/current.json        the manifest of the digest that a look-up by key gives; written last
    <url>/<kind>-<key>/lease.json          who is making it at the moment
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ArtifactError, ConfigError, RemoteStoreError
from medreasoner_monai.files import file_digest
from medreasoner_monai.pipeline.artifacts import MANIFEST, Artifact, Ref, check_manifest
from medreasoner_monai.pipeline.lease import hold_lease

log = logging.getLogger("medreasoner")

CURRENT, LEASE = "current.json", "lease.json"
_INSTALL = {"s3": "s3", "s3a": "s3", "sftp": "sftp", "ssh": "sftp"}
"""Extras of this package that bring what a protocol needs."""


class Remote:
    """One shared store.

    Parameters
    ----------
    url:
        As fsspec takes it; a password belongs in the environment or a key file, not in it.
    options:
        For fsspec's file system, such as ``key_filename`` for ``sftp`` or ``client_kwargs`` for ``s3``.
    lease_seconds:
        For how long a machine that stopped renewing its lease is waited for.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None, *, lease_seconds: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self.options = dict(options or {})
        self.lease_seconds = lease_seconds
        self._warned: set[str] = set()

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return self._connect()

    def _connect(self) -> tuple[Any, str]:
        """The file system and the root in it; a new connection each time.

        Raises
        ------
        ConfigError
            If the protocol is unknown, or what it needs is not installed.
        RemoteStoreError
            If it cannot be reached.
        """
        from fsspec.core import url_to_fs

        with self._reached("be opened"):
            try:
                fs, root = url_to_fs(self.url, skip_instance_cache=True, **self.options)
            except ImportError as error:
                extra = _INSTALL.get(self.url.partition(":")[0])
                hint = f"install the extra {extra!r}: pip install 'medreasoner-monai[{extra}]'" if extra else str(error)
                raise ConfigError(f"the store {self.url} needs a package that is not installed; {hint}") from None
            except ValueError as error:
                raise ConfigError(f"the store {self.url} cannot be used: {error}") from None
        return fs, str(root).rstrip("/")

    def current(self, name: str) -> dict[str, Any] | None:
        """The manifest that a look-up of ``<kind>-<key>`` gives, or None."""
        return self._manifest(f"{name}/{CURRENT}")

    def manifest(self, ref: Ref) -> dict[str, Any] | None:
        """The manifest of exactly that artifact, or None."""
        return self._manifest(f"{ref.name}/{ref.digest}/{MANIFEST}")

    def _manifest(self, path: str) -> dict[str, Any] | None:
        data = self._read(path)
        if data is None:
            return None
        try:
            manifest: dict[str, Any] = json.loads(data)
            check_manifest(manifest, f"{self.url}/{path}")
        except (ValueError, ArtifactError):  # half written, or damaged: as if it were not there, and written again
            return None
        return manifest

    def push(self, artifact: Artifact, note: Callable[[str], None] = log.info) -> None:
        """Copy an artifact there; files that are there already are not sent again.

        Raises
        ------
        RemoteStoreError
            If the store cannot be reached or written.
        """
        ref, folder = artifact.ref, f"{artifact.ref.name}/{artifact.digest}"
        if (there := self.current(ref.name)) is not None and there["digest"] == ref.digest:
            return
        fs, root = self._opened
        names = list(artifact.manifest["files"])
        sizes = {name: (artifact.path / name).stat().st_size for name in names}
        total, sent = sum(sizes.values()), 0
        with self._reached(f"be written ({ref.name})"):
            for name in names:
                self._put(fs, artifact.path / name, f"{root}/{folder}/{name}", sizes[name])
                sent += sizes[name]
                if total > _LARGE:
                    note(f"copying to {self.url}: {sent / 1e9:.1f} of {total / 1e9:.1f} GB")
            self._put(fs, artifact.path / MANIFEST, f"{root}/{folder}/{MANIFEST}", None)
            self._put(fs, artifact.path / MANIFEST, f"{root}/{ref.name}/{CURRENT}", None)

    @staticmethod
    def _put(fs: Any, source: Path, target: str, size: int | None) -> None:
        """Send a file; ``size`` is that of one whose name says its content, which is not sent twice."""
        if size is not None:
            try:
                if fs.info(target)["size"] == size:
                    return
            except FileNotFoundError:
                pass
        fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        fs.put_file(str(source), target)

    def pull(self, ref: Ref, manifest: Mapping[str, Any], folder: Path) -> None:
        """Fetch an artifact's files into a folder; those that an interrupted attempt fetched whole are kept.

        Raises
        ------
        RemoteStoreError
            If the store cannot be reached.
        ArtifactError
            If a file there is not what the manifest says.
        """
        fs, root = self._opened
        for name, digest in manifest["files"].items():
            target = folder / name
            if target.is_file() and file_digest(target) == digest:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            source = f"{root}/{ref.name}/{ref.digest}/{name}"
            with self._reached(f"be read ({source})"):
                fs.get_file(source, str(target))
            if file_digest(target) != digest:
                target.unlink()
                raise ArtifactError(f"{self.url}/{ref.name}/{ref.digest}/{name} is damaged; remove that folder there")

    def lease(
        self, name: str, who: Mapping[str, Any], made: Callable[[], bool], note: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """Hold the right to make ``<kind>-<key>``; see :func:`~medreasoner_monai.pipeline.lease.hold_lease`."""
        return hold_lease(self, f"{name}/{LEASE}", who, made, note)

    def fresh_connection(self) -> Remote:
        """The same store over a connection of its own, for another thread."""
        return Remote(self.url, self.options, lease_seconds=self.lease_seconds)

    def read(self, path: str) -> bytes | None:
        """A small file, or None where there is none."""
        return self._read(path)

    def _read(self, path: str) -> bytes | None:
        fs, root = self._opened
        with self._reached("be read"):
            try:
                data: bytes = fs.cat_file(f"{root}/{path}")
            except FileNotFoundError:
                return None
        return data

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        fs, root = self._opened
        target = f"{root}/{path}"
        with self._reached("be written"):
            fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            fs.pipe_file(target, data)

    def remove(self, path: str) -> None:
        """Remove a small file; harmless where there is none."""
        fs, root = self._opened
        with self._reached("be written"):
            try:
                fs.rm_file(f"{root}/{path}")
            except FileNotFoundError:
                return

    def warn_once(self, text: str) -> None:
        """Log a warning the first time."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)

    @contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        """Turn the many errors of network libraries into one of ours."""
        try:
            yield
        except (ConfigError, FileNotFoundError):
            raise
        except Exception as error:
            detail = str(error).splitlines()[0] if str(error) else ""
            raise RemoteStoreError(
                f"the store {self.url} could not {what} ({type(error).__name__}{f': {detail}' if detail else ''})"
            ) from error


_LARGE = 200_000_000
"""Bytes from which on sending is worth a line per file."""
