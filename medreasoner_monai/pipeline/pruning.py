"""Which runs and artifacts of a workspace may go, and their removal. A shared store is not pruned."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.runs import RunRecord
from medreasoner_monai.pipeline.workspace import Workspace

_WORK = (".partial", ".scratch", ".replaced", ".pulling")


@dataclass(frozen=True)
class Policy:
    """What is kept whatever its age.

    Attributes
    ----------
    keep_last:
        So many of the newest runs.
    older_than:
        Days; what is younger is kept.
    """

    keep_last: int = 5
    older_than: float = 30

    def __post_init__(self) -> None:
        if self.keep_last < 0 or self.older_than < 0:
            raise InputError("keep-last and older-than must be at least 0")


@dataclass(frozen=True)
class Pruning:
    """What would be removed, and why the other runs stay.

    Attributes
    ----------
    runs:
        Ids of the runs to remove.
    folders:
        Artifacts, and leftovers of killed attempts, to remove.
    kept:
        By run id, why it stays.
    size:
        Bytes that ``folders`` take.
    """

    runs: tuple[str, ...]
    folders: tuple[Path, ...]
    kept: dict[str, str]
    size: int


def plan_pruning(space: Workspace, policy: Policy, registered: Collection[str], now: datetime | None = None) -> Pruning:
    """Say what a policy removes.

    A run stays if a person marked it, it is at work, it is one of the newest or too young, or a registered model or an
    alias of the registry points to its model. What a run that stays points to stays, as do artifacts that are younger
    than the policy's age, since a run may be about to use them.

    Parameters
    ----------
    registered:
        Digests of the models that the registry knows.
    """
    limit = (now or datetime.now(UTC)) - timedelta(days=policy.older_than)
    records = list(space.runs.all())
    newest = {r.id for r in records[len(records) - policy.keep_last :]} if policy.keep_last else set()
    kept = {r.id: why for r in records if (why := _why_kept(r, newest, limit, registered))}
    needed = {s.ref.digest for r in records if r.id in kept for s in r.artifacts.values()} | set(registered)
    folders = [p for p in _folders(space.store.root) if _may_go(p, needed, limit)]
    # Models fetched from a registry's server, by the beginning of their digest.
    fetched = {digest[:16] for digest in registered}
    folders += [p for p in _folders(space.champions) if p.name not in fetched and _changed(p) <= limit]
    return Pruning(
        tuple(r.id for r in records if r.id not in kept), tuple(folders), kept, sum(_size(p) for p in folders)
    )


def prune(space: Workspace, plan: Pruning, step: Callable[[int, int], None] = lambda *_: None) -> list[Path]:
    """Remove what a plan names; folders that somebody has begun to use meanwhile are left, and returned."""
    left: list[Path] = []
    total = len(plan.folders) + len(plan.runs)
    for number, folder in enumerate(plan.folders, 1):
        name = folder.name
        for end in _WORK:
            name = name.removesuffix(end)
        lock = FileLock(space.store.root / "locks" / f"{name}.lock")
        lock_folder = Path(lock.lock_file).parent
        lock_folder.mkdir(parents=True, exist_ok=True)
        try:
            with lock.acquire(timeout=0):
                # First another name, so that nothing half removed stands under a final one.
                gone = folder.with_name(f".removed-{folder.name}")
                folder.rename(gone)
                shutil.rmtree(gone)
        except (Timeout, FileNotFoundError):
            left.append(folder)
        step(number, total)
    for number, id_ in enumerate(plan.runs, len(plan.folders) + 1):
        shutil.rmtree(space.runs.folder(id_), ignore_errors=True)
        step(number, total)
    return left


def _why_kept(record: RunRecord, newest: Collection[str], limit: datetime, registered: Collection[str]) -> str:
    if record.kept:
        return "marked to be kept"
    if record.status == "running":
        return "at work"
    if any(s.ref.digest in registered for s in record.artifacts.values()):
        return "its model is registered"
    if record.id in newest:
        return "one of the newest"
    if datetime.fromisoformat(record.finished or record.started) > limit:
        return "younger than the limit"
    return ""


def _folders(root: Path) -> Sequence[Path]:
    if not root.is_dir():
        return []
    return sorted(p for p in root.iterdir() if p.is_dir() and p.name != "locks")


def _may_go(folder: Path, needed: Collection[str], limit: datetime) -> bool:
    if _changed(folder) > limit:
        return False
    if folder.suffix in _WORK or folder.name.startswith("."):
        return True
    try:
        return Artifact.open(folder).digest not in needed
    except ArtifactError:
        return False  # a person should look at it


def _changed(folder: Path) -> datetime:
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)


def _size(folder: Path) -> int:
    return sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())
